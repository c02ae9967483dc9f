"""A filter of the system calls of this process and all of its threads, set with seccomp(2) for good.

Landlock guards files by path. This filter guards the rest: processes, sockets, the scheduling of other processes, the settings of the
machine. A refused call does nothing and sets errno, so that foreign code gets an exception. `rules` lists the refused calls and what they
could be used for. Everything else works: memory, threads, files, clocks, devices. System calls newer than the rules fail with ENOSYS, as
on an older kernel.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import platform
import struct
import sys
from dataclasses import dataclass, replace

from evaluators.sandbox.bpf import Among, Block, allow, by_number, fail, if_all, if_among, if_architecture
from evaluators.sandbox.system_calls import AUDIT, NEWEST, number_of

_SECCOMP = {"x86_64": 317, "aarch64": 277}
"""The number of the system call seccomp(2) on each architecture."""
_SET_MODE_STRICT, _SET_MODE_FILTER, _GET_ACTION_AVAIL = 0, 1, 2
"""The operations of seccomp(2)."""
_TSYNC, _SPEC_ALLOW = 1 << 0, 1 << 2
"""The flags of seccomp(2) that filter all threads, and that keep speculation enabled."""
_PR_SET_NO_NEW_PRIVS = 38
_NOBODY = 0x7FFFFFF1
"""A placeholder for the number of a process. No process has this number, and it occurs in no rule for another purpose."""

_CLONE_THREAD = 0x00010000
_CLONE_NEW_NAMESPACES = 0x7E020000
_PERSONALITY_QUERY = 0xFFFFFFFF

_PRCTL = {
    "PR_SET_PDEATHSIG": 1,
    "PR_SET_SECCOMP": 22,
    "PR_SET_TSC": 26,
    "PR_SET_MM": 35,
    "PR_SET_CHILD_SUBREAPER": 36,
    "PR_SET_THP_DISABLE": 41,
    "PR_SET_SPECULATION_CTRL": 53,
    "PR_SET_SYSCALL_USER_DISPATCH": 59,
    "PR_SCHED_CORE": 62,
    "PR_SET_MEMORY_MERGE": 67,
}
"""The options of prctl(2) that are refused. They let a process outlive the evaluator, intercept the system calls of the harness, or change
the speed of the whole process between two calls."""

_FCNTL = {
    "F_SETOWN": 8,
    "F_SETSIG": 10,
    "F_SETOWN_EX": 15,
    "F_SETLEASE": 1024,
    "F_NOTIFY": 1026,
}
"""The commands of fcntl(2) that are refused. They send a signal to another process when a pipe has data, make other processes wait when
they open a file, or watch folders."""

_IOCTL = {
    "TIOCSTI": 0x5412,
    "TIOCLINUX": 0x541C,
    "FS_IOC_SETFLAGS": 0x40086602,
    "FS_IOC32_SETFLAGS": 0x40046602,
    "FS_IOC_FSSETXATTR": 0x401C5820,
    "FIFREEZE": 0xC0045877,
    "FITHAW": 0xC0045878,
    "FITRIM": 0xC0185879,
    "FS_IOC_SHUTDOWN": 0x8004587D,
}
"""The requests of ioctl(2) that are refused. They type into a terminal, make files that cannot be removed, or stop a file system."""

_MADVISE = {"MADV_HWPOISON": 100, "MADV_SOFT_OFFLINE": 101}
"""The advice of madvise(2) that is refused. It takes pages of memory out of service."""


@dataclass(frozen=True)
class Rule:
    """A rule that makes some system calls fail, always or depending on their arguments."""

    against: str
    """What a hostile kernel could do with the calls."""
    calls: str
    """The names of the calls, separated by blanks."""
    error: int
    """The errno with which the calls fail."""
    unless: tuple[Among, ...] = ()
    """The tests that let a call pass when all of them hold. Without tests the calls always fail, unless `only` is given."""
    only: Among | None = None
    """The test that must hold for a call to fail; None if there is no such condition."""

    def block(self) -> Block:
        """Return the part of the filter that decides about these calls."""
        if self.only is not None:
            return if_among(self.only, fail(self.error), allow())
        return if_all(self.unless, allow(), fail(self.error)) if self.unless else fail(self.error)


def rules(pid: int, *, pinned: bool = False) -> tuple[Rule, ...]:
    """Return the rules for the process `pid`. Each call occurs in one rule only.

    Args:
        pid: The process that is filtered. Calls that name it may be allowed where calls that name others are not.
        pinned: Whether the process may not change the cores that it runs on either.
    """
    itself = Among(0, (pid,))
    affinity = Rule(
        "slow the reference down: put its threads on a busy core. Threads other than the main one may name themselves as 0 only",
        "sched_setaffinity",
        errno.EPERM,
        unless=(Among(0, (0, pid)),),
    )
    return (
        Rule("leave processes behind, share the work out where no clock looks, fork bombs", "fork vfork", errno.EAGAIN),
        Rule(
            "the same; threads are made by it too, in the namespaces of the process",
            "clone",
            errno.EAGAIN,
            unless=(Among(0, (_CLONE_THREAD,), mask=_CLONE_THREAD | _CLONE_NEW_NAMESPACES),),
        ),
        Rule(
            "the same; its flags lie in memory, unseen here. The C library falls back on clone", "clone3", errno.ENOSYS
        ),
        Rule("become a program that is not watched", "execve execveat", errno.EPERM),
        Rule(
            "send the inputs out, fetch reference outputs, talk to the harness's or Ray's servers, by any protocol",
            "socket socketpair connect bind listen accept accept4 sendto sendmsg sendmmsg recvfrom recvmsg recvmmsg "
            "getsockname getpeername setsockopt getsockopt shutdown",
            errno.EACCES,
        ),
        Rule(
            "do all of the above without the filter seeing it; use up a quota of the machine",
            "io_uring_setup io_uring_enter io_uring_register io_setup",
            errno.EPERM,
        ),
        Rule(
            "read or change the memory and the files of the harness",
            "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_open pidfd_getfd "
            "pidfd_send_signal kcmp",
            errno.EPERM,
        ),
        Rule(
            "kill or stop others, or their whole group. raise and abort name the process itself",
            "kill tkill tgkill rt_sigqueueinfo rt_tgsigqueueinfo",
            errno.EPERM,
            unless=(itself,),
        ),
        Rule("the same through a file descriptor", "fcntl", errno.EPERM, only=_second(_FCNTL)),
        replace(affinity, unless=()) if pinned else affinity,
        Rule(
            "distort the timing: a class or a nice value that the reference does not get, in one thread or in those of others",
            "sched_setscheduler sched_setparam sched_setattr setpriority ioprio_set",
            errno.EPERM,
        ),
        Rule(
            "move the memory of others to slow nodes",
            "migrate_pages move_pages",
            errno.EPERM,
            unless=(Among(0, (0, pid)),),
        ),
        Rule("lift its own limits, where it is root", "setrlimit", errno.EPERM),
        Rule(
            "the same, or limit others; reading its own works",
            "prlimit64",
            errno.EPERM,
            unless=(Among(0, (0, pid)), Among(2, (0,)), Among(2, (0,), high=True)),
        ),
        Rule("leave the session that is killed with it", "setsid setpgid", errno.EPERM),
        Rule("see prctl in this file", "prctl", errno.EPERM, only=Among(0, tuple(_PRCTL.values()))),
        Rule(
            "put another filter over the harness's calls in this process",
            "seccomp",
            errno.EPERM,
            only=Among(0, (_SET_MODE_STRICT, _SET_MODE_FILTER)),
        ),
        Rule(
            "lock the harness out of its own files, or mark them: Landlock does not guard modes, owners, times, attributes",
            "chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat utime utimes futimesat utimensat "
            "setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat file_setattr",
            errno.EPERM,
        ),
        Rule("type into a terminal, stop a file system", "ioctl", errno.EPERM, only=_second(_IOCTL)),
        Rule("reach files past Landlock", "open_by_handle_at", errno.EPERM),
        Rule(
            "watch the harness's folders: Landlock does not guard that; hold up what others open",
            "inotify_init inotify_init1 inotify_add_watch fanotify_init fanotify_mark",
            errno.EPERM,
        ),
        Rule(
            "leave objects that outlive the process, or use those of others",
            "shmget shmat shmctl semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_open mq_unlink",
            errno.EPERM,
        ),
        Rule(
            "another view of files and networks; another root",
            "mount umount2 move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr pivot_root chroot "
            "unshare setns",
            errno.EPERM,
        ),
        Rule(
            "attack the kernel, count or trace what others do, halt others' page faults",
            "bpf perf_event_open userfaultfd modify_ldt",
            errno.EPERM,
        ),
        Rule("find keys of the user, leave some", "keyctl add_key request_key", errno.EPERM),
        Rule(
            "change the machine",
            "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl quotactl_fd "
            "sethostname setdomainname iopl ioperm vhangup syslog sync syncfs",
            errno.EPERM,
        ),
        Rule("take memory out of service", "madvise", errno.EPERM, only=Among(2, tuple(_MADVISE.values()))),
        Rule("set the clock", "settimeofday clock_settime adjtimex clock_adjtime", errno.EPERM),
        Rule(
            "another layout of memory; asking for the present one works",
            "personality",
            errno.EPERM,
            unless=(Among(0, (_PERSONALITY_QUERY,)),),
        ),
        Rule(
            "become another user",
            "setuid setgid setreuid setregid setresuid setresgid setfsuid setfsgid setgroups capset",
            errno.EPERM,
        ),
    )


def program(machine: str, pid: int, *, pinned: bool = False) -> Block:
    """Return the filter for a process on a machine.

    Calls of another architecture of the same machine (32 bits, x32) fail with ENOSYS.

    Args:
        machine: `x86_64` or `aarch64`.
        pid: The process that is filtered.
        pinned: Whether the process may not change the cores that it runs on.
    """
    blocks: dict[int, Block] = {}
    for rule in rules(pid, pinned=pinned):
        for call in rule.calls.split():
            number = number_of(call, machine)
            if number is not None:
                if number in blocks:
                    raise ValueError(f"two rules for {call}")
                blocks[number] = rule.block()
    unknown = fail(errno.ENOSYS)
    # The numbers of x32 calls have a bit set that is above all other numbers.
    return if_architecture(AUDIT[machine], by_number(blocks, allow(), NEWEST + 1, unknown), unknown)


def prepare() -> None:
    """Compute what `confine_calls` needs, so that processes forked from this one inherit it."""
    if supported():
        _template(platform.machine(), pinned=False)


def _packed(machine: str, pid: int, *, pinned: bool) -> bytes:
    """Return the filter in the binary form that the kernel takes."""
    code, places = _template(machine, pinned=pinned)
    packed = bytearray(code)
    for place in places:
        struct.pack_into("<I", packed, place, pid)
    return bytes(packed)


@functools.lru_cache(maxsize=4)
def _template(machine: str, *, pinned: bool) -> tuple[bytes, tuple[int, ...]]:
    """Return the packed filter for the placeholder process, and the byte offsets of the placeholder in it."""
    block = program(machine, _NOBODY, pinned=pinned)
    places = (8 * i + 4 for i, instruction in enumerate(block) if instruction.constant == _NOBODY)
    return b"".join(i.packed() for i in block), tuple(places)


def supported() -> bool:
    """Return whether this kernel can filter system calls and the filter is written for this machine. Changes nothing."""
    number = _SECCOMP.get(platform.machine())
    if sys.platform != "linux" or number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    action = ctypes.c_uint32(fail(0)[0].constant)
    return _call(number, _GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0


def enforced() -> str:
    """Return a text that lists what the filter keeps candidates from."""
    if not supported():
        return "nothing"
    return "new processes, sockets, other processes, scheduling, the machine's settings"


def confine_calls(*, pinned: bool = False) -> None:
    """Refuse this process, its threads and their descendants the calls that `rules` lists. It works once in a process.

    Call it after the fork and after the process has its limits, before foreign code is loaded, and after everything that needs more than
    a candidate may: torch.compile starts compilers, and CUDA opens a Unix socket when it starts. It sets no-new-privileges.

    Args:
        pinned: Whether the process may not change the cores that it runs on. This applies to a reference in the same process too.

    Raises:
        OSError: This system has no seccomp, or a thread already has a filter.
    """
    if not supported():
        raise OSError(errno.ENOSYS, "this system cannot filter system calls")
    packed = _packed(platform.machine(), os.getpid(), pinned=pinned)
    code = ctypes.create_string_buffer(packed, len(packed))
    filter_ = _Program(len(packed) // 8, ctypes.cast(code, ctypes.c_void_p))
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    number = _SECCOMP[platform.machine()]
    # Without SPEC_ALLOW, older kernels slow a filtered process down (mitigation of speculation), which would distort its times.
    result = _call(number, _SET_MODE_FILTER, _TSYNC | _SPEC_ALLOW, ctypes.byref(filter_))
    if result == -errno.EINVAL:
        result = _call(number, _SET_MODE_FILTER, _TSYNC, ctypes.byref(filter_))
    if result > 0:
        raise OSError(errno.ESRCH, f"thread {result} has a filter of its own")
    if result < 0:
        raise OSError(-result, os.strerror(-result))


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


@functools.lru_cache(maxsize=1)
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def _call(number: int, *arguments: object) -> int:
    """Return the result of a system call, or its negated errno."""
    padded = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(_library().syscall(ctypes.c_long(number), *padded))
    return result if result >= 0 else -ctypes.get_errno()


def _second(commands: dict[str, int]) -> Among:
    return Among(1, tuple(commands.values()))
