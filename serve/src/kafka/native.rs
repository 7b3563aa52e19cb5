//! What librdkafka makes and its user destroys.

/// Something of librdkafka's that is destroyed when it is dropped.
pub struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Owned<T> {
    /// Takes what librdkafka made, with its destructor; `None` where it made nothing.
    ///
    /// # Safety
    /// `made` is null or what `destroy` is the destructor of, and nobody else destroys it.
    pub unsafe fn new(made: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        (!made.is_null()).then_some(Self(made, destroy))
    }

    /// Returns the pointer.
    pub fn get(&self) -> *mut T {
        self.0
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is librdkafka's own, not null, and given to its destructor once.
        unsafe { self.1(self.0) }
    }
}
