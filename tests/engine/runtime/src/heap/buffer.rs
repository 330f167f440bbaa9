//! Zeroed memory that can grow.

use crate::heap::budget::Budget;
use alloc::alloc::{alloc_zeroed, dealloc, realloc};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Aligned bytes, all zero at first.
#[derive(Debug)]
pub(crate) struct Buffer {
    base: NonNull<u8>,
    layout: Layout,
    budget: Budget,
}

/// Why a buffer did not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotGrown {
    /// Its budget is exhausted.
    Budget,
    /// There is no memory.
    OutOfMemory,
}

impl Buffer {
    /// An empty buffer, aligned for values of type `T`, which takes its bytes from `budget`.
    pub(crate) const fn aligned_for<T>(budget: Budget) -> Self {
        Self {
            base: NonNull::<T>::dangling().cast(),
            layout: Layout::new::<[T; 0]>(),
            budget,
        }
    }

    /// The first byte.
    pub(crate) const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The number of bytes.
    pub(crate) const fn len(&self) -> usize {
        self.layout.size()
    }

    /// Grows to `bytes` bytes. The new ones are zero, and the base may move.
    ///
    /// After an error nothing has changed. A buffer that is larger already stays as it is.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), NotGrown> {
        let old = self.layout;
        if bytes <= old.size() {
            return Ok(());
        }
        let more = bytes - old.size();
        if !self.budget.take(more) {
            return Err(NotGrown::Budget);
        }
        let grown = Layout::from_size_align(bytes, old.align())
            .ok()
            .and_then(|new| self.reallocate(new));
        if grown.is_none() {
            self.budget.give_back(more);
        }
        grown.ok_or(NotGrown::OutOfMemory)
    }

    /// Changes to a layout of more bytes.
    fn reallocate(&mut self, new: Layout) -> Option<()> {
        let old = self.layout;
        let base = if old.size() == 0 {
            // SAFETY: the size is not zero, because it is more than the old one.
            NonNull::new(unsafe { alloc_zeroed(new) })
        } else if new.size() - old.size() > old.size() {
            self.move_to_fresh(new).or_else(|| self.extend(new))
        } else {
            self.extend(new)
        };
        self.base = base?;
        self.layout = new;
        Some(())
    }

    /// Copies the bytes to fresh memory.
    ///
    /// For a small buffer that grows a lot: allocators often get large blocks zeroed for free.
    fn move_to_fresh(&mut self, new: Layout) -> Option<NonNull<u8>> {
        // SAFETY: the size is not zero, because `grow` asks for more than the old size.
        let fresh = NonNull::new(unsafe { alloc_zeroed(new) })?;
        // SAFETY: both blocks hold `self.len()` bytes, and a fresh block overlaps nothing.
        unsafe { ptr::copy_nonoverlapping(self.base.as_ptr(), fresh.as_ptr(), self.len()) };
        // SAFETY: the old block came from this allocator with this layout, and is not used again.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
        Some(fresh)
    }

    /// Extends the block, often in place, and zeroes the new bytes.
    fn extend(&mut self, new: Layout) -> Option<NonNull<u8>> {
        let old = self.layout;
        // SAFETY: the block came from this allocator with the old layout, and the new size is valid
        // and not zero.
        let base = NonNull::new(unsafe { realloc(self.base.as_ptr(), old, new.size()) })?;
        // SAFETY: the block now holds `new.size()` bytes, which is more than `old.size()`.
        unsafe { ptr::write_bytes(base.as_ptr().add(old.size()), 0, new.size() - old.size()) };
        Some(base)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.layout.size() != 0 {
            // SAFETY: the block came from this allocator with this layout.
            unsafe { dealloc(self.base.as_ptr(), self.layout) };
        }
        self.budget.give_back(self.len());
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, NotGrown};
    use crate::heap::budget::Budget;

    fn budget(bytes: usize) -> Budget {
        Budget::try_new(bytes).unwrap()
    }

    fn bytes(buffer: &Buffer) -> &[u8] {
        // SAFETY: the buffer holds `len` initialized bytes.
        unsafe { core::slice::from_raw_parts(buffer.base().as_ptr(), buffer.len()) }
    }

    #[test]
    fn grows_with_zeroes_and_keeps_what_there_was() {
        let mut buffer = Buffer::aligned_for::<u64>(budget(1000));
        assert_eq!(buffer.grow(0), Ok(()));
        assert_eq!(buffer.grow(16), Ok(()));
        // SAFETY: the buffer holds 16 bytes.
        unsafe { buffer.base().write_bytes(7, 16) };
        assert_eq!(buffer.grow(24), Ok(()));
        assert_eq!(buffer.grow(1000), Ok(()));
        assert!(bytes(&buffer)[..16].iter().all(|&byte| byte == 7));
        assert!(bytes(&buffer)[16..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn impossible_sizes_change_nothing() {
        let mut buffer = Buffer::aligned_for::<u64>(budget(usize::MAX));
        assert_eq!(buffer.grow(8), Ok(()));
        for bytes in [usize::MAX, isize::MAX as usize - 16] {
            assert_eq!(buffer.grow(bytes), Err(NotGrown::OutOfMemory));
        }
        assert_eq!(buffer.grow(0), Ok(()));
        assert_eq!(buffer.len(), 8);
        assert!(buffer.budget.take(usize::MAX - 8), "nothing else was taken");
    }

    #[test]
    fn buffers_share_a_budget_and_give_back_to_it() {
        let budget = budget(100);
        let [mut one, mut other] = [(); 2].map(|()| Buffer::aligned_for::<u64>(budget.clone()));
        assert_eq!(one.grow(60), Ok(()));
        assert_eq!(other.grow(48), Err(NotGrown::Budget));
        assert_eq!(other.grow(40), Ok(()));
        assert_eq!(one.grow(61), Err(NotGrown::Budget));
        drop(other);
        assert_eq!(one.grow(100), Ok(()));
        drop(one);
        assert!(budget.take(100));
    }
}
