/*
 * The protocol between shims, workers, readers and settlers, for spin.
 * check.sh checks it whole, and that it fails once any of its rules is broken (-D BREAK_...).
 *
 * In the model: one job file and its heartbeat file, whose inode may be unlinked and recreated, with
 * bytes 0 and 1; RUNS shims with a worker each, started at any time; READERS who look and, as they
 * like, settle; a KILL of shims (CRASHES in all), workers and readers before any step; a kernel that
 * drops a dead shim's locks first, makes it a corpse and its worker an orphan later, and ends the
 * worker later still (or not: --on-shim-death keep); jobs that are called off; a final write that
 * fails for good; a job file that jobshim makes, and one that it adopts. With VANDAL somebody removes
 * the heartbeat file, once, at any time; with HOST the host writes its old copy, `running`, over the
 * end, once. A step is a system call, or several of which others can see or disturb only one. What
 * is done with patience is a step that may come at any time, before the patience ends or after.
 *
 * Not in the model, for other tests look at it: torn and merged texts (a write of the job file is
 * one rename here, blind to what it replaces, so more can go wrong than with the merge of
 * job_file.cpp); power cuts, full disks and the copy in unrecorded/; pids that are used again (start
 * times tell them apart); other hosts, namespaces and boots; signals, time-outs, groups; beats as a
 * sign of life.
 */

#ifndef RUNS
#define RUNS 1
#endif
#ifndef READERS
#define READERS 1
#endif
/* The whole of it has too many states, so it is checked in parts: FEW leaves out calls-off and writes
 * that fail, CALL_OFF_ALL all workers, NARROW a job that is not adopted and workers that die with
 * their shim; with NOBODY_SETTLES readers only look; with LATER the second shim comes when the first
 * dies or has written its end, and readers come when the last dies. */
#ifndef READER_KILLS
#define READER_KILLS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif

/* What came about in the search, and how often: what never does is not checked either. The
 * counters are no part of a state. */
c_decl {
\#include <stdio.h>
    enum {
        completed, called_off, settled_lost, settled_never_started, settled_known, settled_by_shim,
        seen_orphaned, seen_unknown, rerun, refused_busy, refused_alive, gave_up_waiting,
        unlinked_while_waiting, end_not_written, late_line, remade, put_right, kinds
    };
    static const char *const kind_names[] = {
        "completed", "called off", "settled as lost", "settled as never started",
        "settled from the heartbeat file", "settled by the next shim", "orphaned", "unknown",
        "run again", "refused: locked", "refused: not over", "gave up waiting for a settler",
        "file gone while waiting for its lock", "end not written", "line of an earlier worker",
        "heartbeat file made anew", "host's late overwrite put right"
    };
    static unsigned long came_about[kinds];
    __attribute__((destructor)) static void tell(void) {
        for (int kind = 0; kind < kinds; kind++)
            printf("reached %lu %s\n", came_about[kind], kind_names[kind]);
    }
}
#define REACHED(kind) c_code { came_about[kind]++; }

/* ---- The world ---- */

#define INODES (RUNS + READERS + 2)

/* An inode that has been the heartbeat file, as long as it has a name or a descriptor. */
typedef Inode {
    byte descriptors;
    byte life;    /* who holds byte 0 */
    byte writer;  /* who holds byte 1 */
    byte whose;    /* first line: whose run */
    byte worker;  /* second line: which worker wrote it */
    byte exit     /* third line */
};
Inode inode[INODES + 1];
byte path;  /* the inode under the heartbeat file's name; 0: none */
hidden byte unlinked;

/* The job file. */
#define ABSENT 0
#define QUEUED 1
#define ACTIVE 2
#define FINAL  3
byte job_status = ABSENT;
byte job_run;      /* jobshim.shim */
bool job_worker;   /* jobshim.worker */
byte job_end;      /* jobshim.exit */

/* How a run ended, as a record may tell it. */
#define ENDED         1
#define CALLED_OFF    2
#define LOST          3
#define NEVER_STARTED 4
/* Both are `failed` / `shim-lost`. A child whose shim is dead may write its line later than somebody
 * said that there was none; it is never COMMAND, and only the sentence changes. */
#define KIND_OF(end) (end == NEVER_STARTED -> LOST : end)

/* The processes of a run, and the truth about it. Shims are 1..RUNS, by the time they were started. */
typedef Truth {
    byte fd;      /* the shim's descriptor of the heartbeat file */
    byte new_fd;  /* while it makes another */
    bool killed;  /* its locks are gone */
    bool dead;    /* a corpse, or gone */
    bool began;   /* supervises */
    bool forked;
    byte worker_fd;
    bool armed;     /* PR_SET_PDEATHSIG */
    bool prepared;  /* its line is there */
    bool go;
    bool executed;  /* COMMAND */
    bool worker_dead;
    bool recorded;    /* its end is on the disk */
    byte final;       /* how its end stands, or stood, in the job file */
    bool given_up     /* somebody said that it is dead, and its end not known */
};
Truth truth[RUNS + 1];

bool keep;  /* --on-shim-death keep */
bool reader_killed[RUNS + READERS + 1];
byte crashes = CRASHES;
byte reader_kills = READER_KILLS;
bool vandal_is_done = true;
bool host_is_done = true;

#define R truth[me]
#define IN_PLACE(fd) (path == fd)
#ifdef BREAK_NO_INODE_COMPARE
#define STILL_IN_PLACE(fd) true
#else
#define STILL_IN_PLACE(fd) IN_PLACE(fd)
#endif

inline forget_if_unused(i) {
    if
    :: inode[i].descriptors == 0 && path != i ->
        inode[i].whose = 0; inode[i].worker = 0; inode[i].exit = 0
    :: else
    fi
}

/* open(O_CREAT). The lowest free inode is taken: which one it is makes no difference. */
inline open_or_create(opened) {
    d_step {
        if
        :: path != 0
        :: else ->
            path = 1;
            do
            :: inode[path].descriptors != 0 -> path++
            :: else -> break
            od
        fi;
        opened = path;
        inode[opened].descriptors++
    }
}

/* Inside a d_step. */
inline unlink() {
    unlinked = path;
    path = 0;
    if :: unlinked != 0 -> forget_if_unused(unlinked) :: else fi;
    unlinked = 0
}

/* close, or death: the owner's locks of that inode go. Inside a d_step. */
inline closing(closed, owner) {
    if
    :: closed != 0 ->
        inode[closed].descriptors--;
        if :: inode[closed].life == owner -> inode[closed].life = 0 :: else fi;
        if :: inode[closed].writer == owner -> inode[closed].writer = 0 :: else fi;
        forget_if_unused(closed);
        closed = 0
    :: else
    fi
}

/* Inside a d_step. */
inline worker_dies(r) {
    truth[r].worker_dead = true;
    closing(truth[r].worker_fd, 255)
}

/* 2: nobody says so of a live job, nor of one whose end was recorded. */
inline claim_lost(r, never_started) {
    assert(truth[r].dead);
    assert(!truth[r].executed || truth[r].worker_dead);
    assert(!(never_started) || !truth[r].executed);
    assert(!truth[r].recorded);
    truth[r].given_up = true
}

/* Every final record is written by this; inside a d_step. */
inline write_final(r, end, writer_of_it) {
    /* Whoever holds byte 1 is the only writer. */
#ifndef VANDAL
    assert(path != 0 && inode[path].writer == writer_of_it);
#endif
    /* 1: written once a run, never turned into another. */
    assert(truth[r].final == 0 || (truth[r].final == KIND_OF(end) && job_status != FINAL));
    /* It says which run ended; that of another is not written over. */
    assert(job_run == r || job_status == QUEUED);
    if
    :: end == ENDED || end == CALLED_OFF -> truth[r].recorded = true
    :: else -> claim_lost(r, end == NEVER_STARTED)
    fi;
    assert(!truth[r].executed || truth[r].worker_dead);
    if :: truth[r].final != 0 -> REACHED(put_right) :: else fi;
    truth[r].final = KIND_OF(end);
    job_status = FINAL;
    job_run = r;
    job_end = end
}

/* ---- Looking (observation.cpp, verdict.cpp) ---- */

#define HELD    1
#define FREE    2
#define NO_FILE 3

/* The verdicts. KNOWN: dead, and its end is in the heartbeat file. */
#define NOTHING      0
#define RUNNING      1
#define OVER         2
#define IS_LOST      3
#define IS_KNOWN     4
#define ORPHANED     5
#define UNKNOWN      6

typedef Look {
    byte lock;
    byte whose;    /* the heartbeat file's lines */
    byte worker;
    byte exit;
    byte status;  /* the job file */
    byte job_run;
    bool job_worker;
    byte about;   /* which run it is about */
    byte worker_of;
    bool started;
    byte verdict
};

#define DECLARE_LOOK Look saw; byte probe_fd; bool same
#define MAY_SETTLE (saw.verdict == IS_LOST || saw.verdict == IS_KNOWN)

/* What is not needed any more is forgotten: it would only make states differ. */
inline forget_what_was_seen() {
    saw.lock = 0; saw.whose = 0; saw.worker = 0; saw.status = 0; saw.job_run = 0;
    saw.job_worker = 0; saw.worker_of = 0; same = false; seen_exit = 0;
    if
    :: saw.verdict == IS_LOST || saw.verdict == IS_KNOWN
    :: else -> saw.exit = 0; saw.started = false
    fi
}

inline forget_look() {
    saw.verdict = 0; saw.about = 0; saw.exit = 0; saw.started = false;
    forget_what_was_seen()
}

/* `held_fd` is the descriptor of one who holds a lock of the file, else 0. */
inline probe_first(held_fd) {
    d_step {
        probe_fd = (held_fd != 0 -> held_fd : path);
        if :: held_fd == 0 && probe_fd != 0 -> inode[probe_fd].descriptors++ :: else fi;
        saw.lock = (probe_fd == 0 -> NO_FILE : 0)
    }
    if
    :: probe_fd != 0 ->
        d_step {
            saw.lock = (inode[probe_fd].life == 0 || inode[probe_fd].life == me -> FREE : HELD)
        }
        d_step {
            saw.whose = inode[probe_fd].whose;
            saw.worker = inode[probe_fd].worker;
            saw.exit = inode[probe_fd].exit;
            if :: held_fd == 0 -> closing(probe_fd, 255) :: else fi;
            probe_fd = 0
        }
    :: else
    fi
}

inline read_first() {
    d_step { saw.status = job_status; saw.job_run = job_run; saw.job_worker = job_worker }
}

/* The same again; only whether it is the same counts. */
inline probe_again(held_fd) {
    d_step {
        probe_fd = (held_fd != 0 -> held_fd : path);
        if :: held_fd == 0 && probe_fd != 0 -> inode[probe_fd].descriptors++ :: else fi;
        same = ((probe_fd == 0) == (saw.lock == NO_FILE))
    }
    if
    :: probe_fd != 0 ->
        d_step {
            same = same && (saw.lock ==
                (inode[probe_fd].life == 0 || inode[probe_fd].life == me -> FREE : HELD))
        }
        d_step {
            same = same && saw.whose == inode[probe_fd].whose &&
                   saw.worker == inode[probe_fd].worker && saw.exit == inode[probe_fd].exit;
            if :: held_fd == 0 -> closing(probe_fd, 255) :: else fi;
            probe_fd = 0
        }
    :: else
    fi
}

inline read_again() {
    d_step {
        same = same && saw.status == job_status && saw.job_run == job_run &&
               saw.job_worker == job_worker
    }
}

/* choose_run */
inline choose_run() {
    d_step {
        saw.about = 0; saw.worker_of = 0; saw.started = false;
        if
        :: saw.whose != 0 && saw.whose == saw.job_run ->
            saw.about = saw.whose;
            saw.worker_of = (saw.job_worker -> saw.job_run : saw.worker);
            saw.started = saw.worker_of != 0
        :: saw.whose != 0 && saw.whose != saw.job_run &&
           (saw.lock == HELD || saw.job_run == 0 || saw.whose > saw.job_run) ->
            saw.about = saw.whose;
            saw.worker_of = saw.worker;
            saw.started = saw.worker_of != 0
        :: else ->
            if
            :: saw.job_run != 0 ->
                saw.about = saw.job_run;
                saw.worker_of = (saw.job_worker -> saw.job_run : 0);
                saw.started = true;
                saw.exit = 0
            :: else -> saw.exit = 0
            fi
        fi
    }
}

/* look_at_processes and judge */
inline judge_it() {
    if
    :: d_step { saw.status == FINAL -> saw.verdict = OVER }
    :: d_step { saw.status == ABSENT -> saw.verdict = NOTHING }
    :: d_step {
        (saw.status == QUEUED || saw.status == ACTIVE) && saw.about == 0 ->
            saw.verdict = (saw.status == QUEUED || saw.lock == HELD -> RUNNING : UNKNOWN)
       }
    :: d_step {
        (saw.status == QUEUED || saw.status == ACTIVE) && saw.about != 0 && saw.lock == HELD ->
            saw.verdict = RUNNING
       }
    :: (saw.status == QUEUED || saw.status == ACTIVE) && saw.about != 0 && saw.lock != HELD ->
        /* The two witnesses: the lock is free, and the process is dead. */
        if
#ifndef BREAK_LOCK_ALONE
        :: d_step { !truth[saw.about].dead -> saw.verdict = RUNNING }
        :: truth[saw.about].dead ->
#else
        :: true ->
#endif
            if
            :: d_step { saw.exit != 0 -> saw.verdict = IS_KNOWN }
            :: d_step {
                saw.exit == 0 && saw.worker_of == 0 ->
                    saw.verdict = (saw.started -> UNKNOWN : IS_LOST)
               }
            :: d_step {
                saw.exit == 0 && saw.worker_of != 0 ->
#ifdef BREAK_WORKER_UNSEEN
                    saw.verdict = IS_LOST
#else
                    saw.verdict = (truth[saw.worker_of].worker_dead -> IS_LOST : ORPHANED)
#endif
               }
            fi
        fi
    fi
}

inline observe(held_fd) {
    do
    ::
#ifdef BREAK_READ_BEFORE_PROBE
        read_first();
        probe_first(held_fd);
#else
        probe_first(held_fd);
        read_first();
#endif
#if defined(BREAK_ONE_PROBE) || defined(BREAK_READ_BEFORE_PROBE)
        choose_run();
        judge_it();
        break
#else
        /* What is compared is what was seen, so what is made of it comes after. The order of the
         * look-ups is that of the code: between the two reads. */
        d_step { seen_exit = saw.exit };
        choose_run();
        judge_it();
        if
        :: saw.lock == HELD || (saw.status != ACTIVE && saw.status != QUEUED) || saw.about == 0 ->
            break
        :: else
        fi;
        d_step { saw.exit = seen_exit };
        probe_again(held_fd);
        read_again();
        if
        :: same -> break
        :: else
        fi
#endif
    od;
    skip
}

/* What is said is judged at once. */
inline say() {
    d_step {
        if
        :: saw.verdict == IS_LOST -> claim_lost(saw.about, !saw.started)
        :: saw.verdict == IS_KNOWN ->
            assert(truth[saw.about].dead && !(truth[saw.about].executed && !truth[saw.about].worker_dead))
        :: saw.verdict == ORPHANED -> assert(truth[saw.about].dead); REACHED(seen_orphaned)
        :: saw.verdict == UNKNOWN -> REACHED(seen_unknown)
        :: else
        fi;
        forget_what_was_seen()
    }
}

/* settle(): reads the job file once more, then writes. */
inline settle() {
    if
    :: d_step { job_status == FINAL -> same = false }  /* somebody's end stands */
    :: d_step { job_status != FINAL -> same = true }
    fi;
    d_step {
        if
        :: same ->
            if
            :: saw.verdict == IS_KNOWN ->
                write_final(saw.about, saw.exit, me);
                REACHED(settled_known)
            :: else ->
                if
                :: saw.started -> write_final(saw.about, LOST, me); REACHED(settled_lost)
                :: else ->
                    write_final(saw.about, NEVER_STARTED, me);
                    REACHED(settled_never_started)
                fi
            fi;
            if :: me <= RUNS -> REACHED(settled_by_shim) :: else fi
        :: else
        fi
    }
}

#define WORKER_GONE(r) (!truth[r].forked || truth[r].worker_dead)
#if RUNS == 1
#define ALL_IS_QUIET (truth[1].dead && WORKER_GONE(1) && host_is_done)
#else
#define ALL_IS_QUIET (truth[1].dead && truth[2].dead && WORKER_GONE(1) && WORKER_GONE(2) && host_is_done)
#endif

#define DIES(r) (truth[r].killed || truth[r].dead)

/* ---- The shim (main.cpp, recorder.cpp, HeartbeatHold) ---- */

inline leave_file() {
    d_step { closing(R.fd, me) }
}

inline remove_file() {
    if
    :: IN_PLACE(R.fd) -> d_step { unlink() }  /* in the next step: it need not be the same file */
    :: else
    fi;
    d_step { closing(R.fd, me) }
}

inline write_job_active() {
    d_step {
        assert(job_status != ACTIVE);  /* a dead run's end comes first */
        /* 4: one live supervisor a job. One that dies before this had no worker, and gets none. */
        R.began = true;
#if RUNS == 2
        assert(!truth[3 - me].began || truth[3 - me].dead);
#endif
        made = job_status == ABSENT;
        if :: job_run != 0 -> REACHED(rerun) :: else fi;
        job_run = me; job_status = ACTIVE; job_worker = false; job_end = 0
    }
}

proctype Shim(byte me) {
    DECLARE_LOOK;
    byte seen_exit;
    byte former_run; byte former_worker; byte former_exit;
    bool made;
    byte end;
    {
#ifdef LATER
        me == 1 || DIES(1) || truth[1].recorded;
#endif
        /* HeartbeatHold::acquire */
        do
        ::
            open_or_create(R.fd);
#ifndef BREAK_NO_LIFE_LOCK
            if
            :: d_step { inode[R.fd].life == 0 -> inode[R.fd].life = me }
            :: d_step { inode[R.fd].life != 0 -> REACHED(refused_busy) } goto refused
            fi;
#endif
            if
            :: STILL_IN_PLACE(R.fd) ->
#ifndef BREAK_NO_LIFE_LOCK
                if
                :: d_step { inode[R.fd].writer == 0 -> inode[R.fd].writer = me }
                :: d_step { inode[R.fd].writer != 0 -> REACHED(gave_up_waiting) } goto refused
                fi;
#endif
                if
#ifdef BREAK_INODE_COMPARED_ONCE
                :: true -> break
#else
                :: STILL_IN_PLACE(R.fd) -> break
#endif
                :: d_step { !STILL_IN_PLACE(R.fd) -> REACHED(unlinked_while_waiting) }
                fi
            :: else
            fi;
            leave_file()
        od;
        true;
        d_step {
            former_run = inode[R.fd].whose;
            former_worker = inode[R.fd].worker;
            former_exit = inode[R.fd].exit
        }
        /* Recorder::take_over */
        if
        :: job_status == ABSENT || job_status == FINAL
        :: job_status == QUEUED || job_status == ACTIVE ->
            observe(R.fd);
            say();
            if
            :: MAY_SETTLE -> settle()
#ifndef BREAK_START_ON_ACTIVE
            :: !MAY_SETTLE && saw.about != 0 -> goto not_over
#endif
            :: else
            fi;
            d_step { forget_look() }
        fi;
        if
        :: job_status == FINAL ->
            if
            :: truth[job_run].dead
#ifdef BREAK_START_BESIDE_FINAL
            :: else
#else
            :: else -> goto not_over
#endif
            fi
        :: else
        fi;

        /* Recorder::begin: the heartbeat file first, then the record. */
        d_step {
            inode[R.fd].whose = 0; inode[R.fd].worker = 0; inode[R.fd].exit = 0;
            former_run = 0; former_worker = 0; former_exit = 0
        }
        d_step { inode[R.fd].whose = me }
#ifndef BREAK_RECORD_AFTER_EXEC
        write_job_active();
#endif
        end = CALLED_OFF;
#ifdef CALL_OFF_ALL
        goto finish;
#endif
#ifndef FEW
        if
        :: true -> goto finish
        :: true
        fi;
#endif

        /* start_worker */
        d_step { R.forked = true; R.worker_fd = R.fd; inode[R.fd].descriptors++ }
        R.prepared || R.worker_dead;
#ifdef BREAK_GO_BEFORE_RECORD
        R.go = true;
        R.executed || R.worker_dead;
#endif
#ifndef BREAK_RECORD_AFTER_EXEC
        d_step { job_worker = true }
#endif
#ifndef FEW
        if
        :: d_step { !R.executed -> worker_dies(me) } goto finish
        :: true
        fi;
#endif
        R.go = true;
        R.executed || R.worker_dead;
#ifdef BREAK_RECORD_AFTER_EXEC
        write_job_active();
        d_step { job_worker = true }
#endif
        end = ENDED;

        /* supervise */
        do
        :: R.worker_dead -> break
#ifdef VANDAL
        :: !R.worker_dead && !IN_PLACE(R.fd) ->
            /* HeartbeatHold::recreate */
            open_or_create(R.new_fd);
            if
            :: d_step { inode[R.new_fd].life == 0 -> inode[R.new_fd].life = me }
                if
                :: d_step { inode[R.new_fd].writer == 0 -> inode[R.new_fd].writer = me }
                    if
                    :: IN_PLACE(R.new_fd) ->
                        d_step {
                            inode[R.new_fd].whose = 0; inode[R.new_fd].worker = 0;
                            inode[R.new_fd].exit = 0
                        }
                        d_step {
                            inode[R.new_fd].whose = inode[R.fd].whose;
                            inode[R.new_fd].worker = inode[R.fd].worker;
                            REACHED(remade)
                        }
                        d_step {
                            closing(R.fd, me);
                            R.fd = R.new_fd;
                            R.new_fd = 0
                        }
                    :: else
                    fi
                :: inode[R.new_fd].writer != 0
                fi
            :: inode[R.new_fd].life != 0
            fi;
            d_step { closing(R.new_fd, me) }
#endif
        od;

finish: /* Recorder::finish */
        true;
#if !defined(BREAK_NO_EXIT_LINE) && !defined(BREAK_EXIT_LINE_LAST)
        d_step {
            inode[R.fd].exit = end;
            if :: IN_PLACE(R.fd) -> R.recorded = true :: else fi
        }
#endif
#ifdef BREAK_UNLOCK_EARLY
        leave_file();
#endif
        if
        :: d_step {
            write_final(me, end, me);
            if :: end == ENDED -> REACHED(completed) :: else -> REACHED(called_off) fi
           }
#ifdef BREAK_EXIT_LINE_LAST
            d_step { inode[R.fd].exit = end }
#endif
            if
            :: made -> remove_file()
            :: else -> leave_file()
            fi
#ifndef FEW
        :: d_step { REACHED(end_not_written) }
#ifdef BREAK_EXIT_LINE_LAST
            d_step { inode[R.fd].exit = end }
#endif
            d_step {
                /* It ends by itself: the end is not lost. */
#ifdef VANDAL
                if :: IN_PLACE(R.fd) -> R.recorded = true :: else fi;
#else
                R.recorded = true;
#endif
                closing(R.fd, me)
            }
#endif
        fi;
        goto gone;

not_over: /* HeartbeatHold::abandon */
        true;
        d_step { REACHED(refused_alive); forget_look() }
        if
        :: former_run == 0 -> remove_file(); goto gone
        :: else
        fi;
#ifdef BREAK_REFUSED_REWRITES
        d_step { inode[R.fd].whose = 0; inode[R.fd].worker = 0; inode[R.fd].exit = 0 }
        d_step {
            inode[R.fd].whose = former_run; inode[R.fd].worker = former_worker;
            inode[R.fd].exit = former_exit
        }
#endif
refused:
        true;
        leave_file();
gone:   skip
    } unless { R.killed };

    /* The kernel, after the locks are gone. */
    d_step {
        R.dead = true;
        forget_look(); probe_fd = 0;
        former_run = 0; former_worker = 0; former_exit = 0; made = false; end = 0
    }
    if
    :: d_step { R.armed && !R.worker_dead -> worker_dies(me) }
    :: !R.armed || R.worker_dead
    fi
}

/* ---- The worker (worker.cpp, between fork and exec) ---- */

proctype Worker(byte me) {
    {
        R.forked;
        if
        :: d_step { !keep && !R.dead -> R.armed = true }
        :: keep || R.dead  /* too late: no signal comes */
        fi;
#ifdef BREAK_EXEC_BEFORE_LINE
        d_step { R.prepared = true; R.go = true; R.executed = true; assert(!R.given_up && R.final == 0) }
#endif
        d_step {
            inode[R.worker_fd].worker = me;
            if :: inode[R.worker_fd].whose != me -> REACHED(late_line) :: else fi
        }
        if
        :: R.dead -> goto give_up  /* getppid */
        :: else
        fi;
        R.prepared = true;
        if
        :: R.go
        :: !R.go && (R.killed || R.dead) -> goto give_up
        fi;
        d_step {
            /* 5: never after somebody said that it was not started, or is over. */
            assert(!R.given_up && R.final == 0);
            /* What runs is in the record. */
            assert(job_run == me && job_status == ACTIVE);
            R.executed = true;
            closing(R.worker_fd, 255)
        }
        false;  /* until it dies */
give_up:
        true;
        d_step { worker_dies(me) }
        false
    } unless { R.worker_dead }
}

/* ---- A reader who may settle (observe_and_settle, SettlerLock) ---- */

proctype Reader(byte me) {
    DECLARE_LOOK;
    byte seen_exit;
    byte fd;
    bool all_is_quiet;
#ifdef LATER
    DIES(RUNS);
#endif
    do
    ::
        {
            do
            ::
#ifndef NOBODY_SETTLES
                all_is_quiet = ALL_IS_QUIET;
#endif
                observe(0);
                say();
#ifdef NOBODY_SETTLES
                goto next;
#endif
                if
                :: MAY_SETTLE
                    if
#ifndef LIVENESS
                    :: true -> goto next  /* --no-reap */
#endif
                    :: d_step { true -> forget_look() }
                    fi
                :: else -> goto judged
                fi;
                /* SettlerLock::try_take */
                do
                ::
                    open_or_create(fd);
#ifndef BREAK_NO_WRITER_LOCK
                    if
                    :: d_step { inode[fd].writer == 0 -> inode[fd].writer = me }
                    :: inode[fd].writer != 0 -> goto next
                    fi;
#endif
                    if
                    :: STILL_IN_PLACE(fd) -> break
                    :: else -> d_step { closing(fd, me) }
                    fi
                od;
                observe(fd);
                say();
                if
                :: !MAY_SETTLE -> goto judged
                :: else
                fi;
                if
                :: STILL_IN_PLACE(fd)
                :: else -> goto next
                fi;
                settle();
                if
                :: IN_PLACE(fd) && inode[fd].whose == 0 -> d_step { unlink() }
                :: else
                fi;
judged:
                true;
#ifndef VANDAL
                /* 3: one look at a dead job, with nobody else about, puts its record right. */
                assert(!all_is_quiet || job_status != ACTIVE);
                assert(saw.verdict != UNKNOWN);
#endif
next:
                true;
                d_step { closing(fd, me); forget_look(); all_is_quiet = false }
            od
        } unless { reader_killed[me] };
        d_step {
            if :: probe_fd != 0 && fd == 0 -> closing(probe_fd, 255) :: else fi;
            probe_fd = 0;
            closing(fd, me);
            forget_look(); all_is_quiet = false;
            reader_killed[me] = false
        }
    od
}

/* ---- What may befall them ---- */

inline kill_shim(r) {
    d_step {
        crashes > 0 && !truth[r].killed && !truth[r].dead ->
            crashes--;
            truth[r].killed = true;
            closing(truth[r].fd, r);
            closing(truth[r].new_fd, r)
    }
}

proctype Fate() {
    do
    :: kill_shim(1)
    :: d_step { truth[1].forked && !truth[1].worker_dead -> worker_dies(1) }
#if RUNS == 2
    :: kill_shim(2)
    :: d_step { truth[2].forked && !truth[2].worker_dead -> worker_dies(2) }
#endif
    /* Without a lock its death would be nothing to anybody. */
    :: d_step {
        reader_kills > 0 && path != 0 && inode[path].writer > RUNS ->
            reader_kills--;
            reader_killed[inode[path].writer] = true
       }
#ifdef VANDAL
    :: d_step {
        !vandal_is_done && path != 0 ->
            vandal_is_done = true;
            if
            :: inode[path].exit != 0 && truth[inode[path].whose].final == 0 ->
                truth[inode[path].whose].recorded = false
            :: else
            fi;
            unlink()
       }
#endif
#ifdef HOST
    :: d_step {
        !host_is_done && job_status == FINAL && truth[job_run].forked ->
            host_is_done = true;
            job_status = ACTIVE;
            job_end = 0
       }
    :: d_step { !host_is_done -> host_is_done = true }
#endif
    od
}

init {
    atomic {
#ifdef NARROW
        keep = true;
#else
        if :: keep = false :: keep = true fi;
#endif
#ifdef HOST
        host_is_done = false;
#endif
#if defined(HOST) || defined(NARROW)
        job_status = QUEUED;
#else
        if :: job_status = ABSENT :: job_status = QUEUED fi;
#endif
#ifdef VANDAL
        vandal_is_done = false;
#endif
        run Fate();
        run Shim(1); run Worker(1);
#if RUNS == 2
        run Shim(2); run Worker(2);
#endif
#if READERS >= 1
        run Reader(RUNS + 1);
#endif
#if READERS == 2
        run Reader(RUNS + 2)
#endif
    }
}

#ifdef LIVENESS
/* 3 again: with a reader that keeps trying, every dead job is settled in the end. */
ltl settled_in_the_end {
    [] ((job_status == ACTIVE && truth[1].dead && WORKER_GONE(1)) -> <> (job_status == FINAL))
}
#endif
