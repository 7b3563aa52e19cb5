//! The `burnrec` program: [`burnrec::program`] with an allocator that suits it.

use std::process::ExitCode;

use burnrec::program::{self, Start, Work};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes the allocator keep freed memory for the next tensor, unless `MIMALLOC_PURGE_DELAY` says otherwise: returning
/// it to the system between training steps costs half of a step in page faults. `serve`, which runs for months, returns
/// memory that it has not used for 200 ms.
fn keep_freed_memory(work: Work) {
    // The number of `mi_option_purge_delay` in mimalloc.h. The delay is in milliseconds; -1 means never.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    let delay = if work == Work::Serving { 200 } else { -1 };
    // SAFETY: sets a number that the allocator reads.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, delay) }
}

fn main() -> ExitCode {
    ExitCode::from(program::main(Start::of_this_process(), keep_freed_memory))
}
