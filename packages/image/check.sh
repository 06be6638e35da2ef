#!/bin/sh
# Loads the image into podman, by the README's own line, takes the programs from it into another, and
# runs a job there. Needs podman, and the right to run a container.
set -eu
. "$JOBSHIM_ROOT/packages/lib.sh"

command -v podman >/dev/null || {
    say 'test skipped: no podman'
    exit 0
}
work=$(mktemp -d)
store="--root $work/images --runroot $work/run --cgroup-manager=cgroupfs"
trap 'podman $store system reset --force >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
mkdir "$work/context" "$work/jobs"
cat >"$work/Containerfile" <<CONTAINERFILE
FROM scratch
COPY --from=localhost/jobshim:$JOBSHIM_VERSION /usr/local/bin/ /bin/
CONTAINERFILE
podman() {
    # shellcheck disable=SC2086 # options
    command podman $store "$@"
}
cd "$JOBSHIM_OUT"
eval "$(install_line 'podman load')" >&2
podman build --quiet --file "$work/Containerfile" --tag worker "$work/context" >/dev/null

# Limits of our own: by default podman raises them, which takes a right that a container may not have.
for runtime in crun runc; do
    command -v "$runtime" >/dev/null || continue
    if podman --runtime "$runtime" run --rm --network none --ulimit nofile=1000:1000 --ulimit nproc=1000:1000 \
        --volume "$work/jobs:/jobs" worker /bin/jobshim --job /jobs/a.json -- /bin/jobctl --version \
        >"$work/log" 2>&1; then
        grep -q '"status": "completed"' "$work/jobs/a.json"
        say "image: loaded, copied from, and used ($runtime)"
        exit 0
    fi
    sed 's/^/packages: /' "$work/log" >&2
done
say 'test skipped: no container can be run here; the image was loaded and copied from'
