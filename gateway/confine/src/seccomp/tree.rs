//! Lays the answers out as one program that finds a call by halving: a call is judged in about nine steps, and the kernel
//! runs the whole program for each call's number once when it is installed. What asks for arguments is seccompiler's.

use std::collections::BTreeMap;

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
use seccompiler::{BpfProgram, SeccompAction, TargetArch, sock_filter};

/// Offsets in `struct seccomp_data` (linux/seccomp.h).
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

/// One program: each call's own answer, for every other call `other`; a call of another architecture ends the process.
/// An answer begins with the call's number loaded and may load something else; none falls through.
pub(super) fn program(
    answers: BTreeMap<i64, BpfProgram>,
    other: SeccompAction,
    arch: TargetArch,
) -> BpfProgram {
    let other = vec![answer(other)];
    // Where a run of calls with one answer begins; a number below the first is none (the number is unsigned here).
    let mut runs: Vec<(u32, BpfProgram)> = vec![(0, other.clone())];
    let mut add = |start: i64, answer: &BpfProgram| {
        let start = u32::try_from(start).expect("call numbers are small and positive");
        let (last, before) = runs.last_mut().expect("it began with one");
        if *last == start {
            answer.clone_into(before);
        } else if before != answer {
            runs.push((start, answer.clone()));
        }
    };
    for (call, answer) in &answers {
        add(*call, answer);
        if !answers.contains_key(&(call + 1)) {
            add(call + 1, &other);
        }
    }
    let mut program = vec![
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, ARCHITECTURE),
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, arch_number(arch)),
        answer(SeccompAction::KillProcess),
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, NUMBER),
    ];
    program.extend(halve(&runs));
    program
}

/// An answer that asks for nothing.
pub(super) fn answer(action: SeccompAction) -> sock_filter {
    step(BPF_RET | BPF_K, 0, 0, action.into())
}

fn halve(runs: &[(u32, BpfProgram)]) -> BpfProgram {
    if let [(_, answer)] = runs {
        return answer.clone();
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let (from, low) = (high[0].0, halve(low));
    // A conditional jump reaches 255 steps, an unconditional one any number.
    let mut program = match u8::try_from(low.len()) {
        Ok(length) => vec![step(BPF_JMP | BPF_JGE | BPF_K, length, 0, from)],
        Err(_) => {
            vec![step(BPF_JMP | BPF_JGE | BPF_K, 0, 1, from), step(BPF_JMP | BPF_JA, 0, 0, low.len() as u32)]
        }
    };
    program.extend(low);
    program.extend(halve(high));
    program
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

/// `AUDIT_ARCH_*` (linux/audit.h).
fn arch_number(arch: TargetArch) -> u32 {
    match arch {
        TargetArch::x86_64 => 0xC000_003E,
        TargetArch::aarch64 => 0xC000_00B7,
        TargetArch::riscv64 => 0xC000_00F3,
    }
}
