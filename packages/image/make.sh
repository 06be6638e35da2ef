#!/bin/sh
# An OCI image layout with nothing but the two programs, for `COPY --from`: a folder, and the same as
# an archive. By the image-spec; no tool, no root and no daemon is needed to make one.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
layout=$work/layout
blobs=$layout/blobs/sha256
mkdir -p "$blobs"
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)

digest_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# keep FILE MEDIA-TYPE: moves it among the blobs, and writes its descriptor without the last brace.
keep() {
    digest=$(digest_of "$1")
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%s' "$2" "$digest" "$(wc -c <"$1")"
    mv "$1" "$blobs/$digest"
}

manifests=
for machine in x86_64 aarch64; do
    bin=$(bin_of "$machine") || continue
    case "$machine" in
    x86_64) architecture=amd64 ;;
    aarch64) architecture=arm64 ;;
    esac
    rm -rf "$work/root"
    mkdir -p "$work/root/usr/local/bin" "$work/root/usr/share/doc/jobshim"
    install_programs "$machine" "$work/installed"
    cp "$work/installed/bin/jobshim" "$work/installed/bin/jobctl" "$work/root/usr/local/bin"
    cp -R "$work/installed/share/doc/jobshim/." "$work/root/usr/share/doc/jobshim"
    pack "$work/root" usr >"$work/layer"
    uncompressed=$(digest_of "$work/layer")
    gzip -9n "$work/layer"
    layer="$(keep "$work/layer.gz" application/vnd.oci.image.layer.v1.tar+gzip)}"
    cat >"$work/config" <<CONFIG
{"created":"$created","architecture":"$architecture","os":"linux",
"config":{"Env":["PATH=/usr/local/bin"],"Entrypoint":["/usr/local/bin/jobshim"],
"Labels":{"org.opencontainers.image.title":"jobshim","org.opencontainers.image.version":"$JOBSHIM_VERSION",
"org.opencontainers.image.licenses":"MIT"}},
"rootfs":{"type":"layers","diff_ids":["sha256:$uncompressed"]},
"history":[{"created":"$created","created_by":"jobshim $JOBSHIM_VERSION"}]}
CONFIG
    config="$(keep "$work/config" application/vnd.oci.image.config.v1+json)}"
    cat >"$work/manifest" <<MANIFEST
{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
"config":$config,
"layers":[$layer]}
MANIFEST
    manifest=$(keep "$work/manifest" application/vnd.oci.image.manifest.v1+json)
    manifests="$manifests${manifests:+,}
$manifest,\"platform\":{\"architecture\":\"$architecture\",\"os\":\"linux\"}}"
    rm -rf "$work/installed"
done
[ -n "$manifests" ] || exit 0

# A tool that copies an image takes one by its name. So the name is that of the index of both.
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}\n' \
    "$manifests" >"$work/index"
index=$(keep "$work/index" application/vnd.oci.image.index.v1+json)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[\n%s]}\n' \
    "$index,\"annotations\":{\"org.opencontainers.image.ref.name\":\"jobshim:$JOBSHIM_VERSION\"}}" \
    >"$layout/index.json"
printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"

name=jobshim-$JOBSHIM_VERSION-image
rm -rf "${JOBSHIM_OUT:?}/$name"
cp -R "$layout" "$JOBSHIM_OUT/$name"
pack "$layout" blobs index.json oci-layout >"$JOBSHIM_OUT/$name.tar"
