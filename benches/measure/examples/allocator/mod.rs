//! The allocator of the examples that train neural models.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` in mimalloc.h, versions 2 and 3; `libmimalloc-sys` does not name it.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Makes the allocator keep freed memory, whatever the environment says: a tensor operation frees as much as the next
/// one allocates, and returning it to the system in between costs more than the operation. Call it first in `main`.
pub fn keep_freed_memory() {
    // SAFETY: mimalloc takes any option and value at any time; the option is a plain number that it reads when it
    // frees.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}
