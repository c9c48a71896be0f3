"""Starts a program on a kernel that seems to have no Landlock: landlock_create_ruleset(2) fails with ENOSYS.
Usage: without_landlock.py PROGRAM ARGUMENT... (as root: a filter without no_new_privs needs it)"""
import ctypes
import errno
import os
import struct
import sys

LANDLOCK_CREATE_RULESET = 444
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
RETURN_ERRNO, RETURN_ALLOW = 0x00050000, 0x7FFF0000


def instruction(code, yes, no, value):
    return struct.pack("HBBI", code, yes, no, value)


# Loads the system call's number; the one gets an error, all others pass (seccomp(2), bpf).
FILTER = b"".join([
    instruction(0x20, 0, 0, 0),
    instruction(0x15, 0, 1, LANDLOCK_CREATE_RULESET),
    instruction(0x06, 0, 0, RETURN_ERRNO | errno.ENOSYS),
    instruction(0x06, 0, 0, RETURN_ALLOW),
])


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(FILTER) // 8, FILTER)
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
    sys.exit(f"set the filter: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
