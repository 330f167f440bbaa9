//! Zeroed memory that can grow.

use alloc::alloc::{alloc_zeroed, dealloc, realloc};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Aligned bytes, all zero at first.
#[derive(Debug)]
pub(crate) struct Buffer {
    base: NonNull<u8>,
    layout: Layout,
}

impl Buffer {
    /// An empty buffer, aligned for values of type `T`.
    pub(crate) const fn aligned_for<T>() -> Self {
        Self {
            base: NonNull::<T>::dangling().cast(),
            layout: Layout::new::<[T; 0]>(),
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
    /// Returns `false` and changes nothing if there is no memory or the buffer is larger already.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let old = self.layout;
        let Ok(new) = Layout::from_size_align(bytes, old.align()) else {
            return false;
        };
        if bytes <= old.size() {
            return bytes == old.size();
        }
        let grown = if old.size() == 0 {
            // SAFETY: the size is not zero, because it is more than `old.size()`.
            NonNull::new(unsafe { alloc_zeroed(new) })
        } else if bytes - old.size() > old.size() {
            self.move_to_fresh(new).or_else(|| self.extend(new))
        } else {
            self.extend(new)
        };
        if let Some(base) = grown {
            self.base = base;
            self.layout = new;
        }
        grown.is_some()
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
    }
}

#[cfg(test)]
mod tests {
    use super::Buffer;

    fn bytes(buffer: &Buffer) -> &[u8] {
        // SAFETY: the buffer holds `len` initialized bytes.
        unsafe { core::slice::from_raw_parts(buffer.base().as_ptr(), buffer.len()) }
    }

    #[test]
    fn grows_with_zeroes_and_keeps_what_there_was() {
        let mut buffer = Buffer::aligned_for::<u64>();
        assert!(buffer.grow(0));
        assert!(buffer.grow(16));
        // SAFETY: the buffer holds 16 bytes.
        unsafe { buffer.base().write_bytes(7, 16) };
        assert!(buffer.grow(24));
        assert!(buffer.grow(1000));
        assert!(bytes(&buffer)[..16].iter().all(|&byte| byte == 7));
        assert!(bytes(&buffer)[16..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn impossible_sizes_change_nothing() {
        let mut buffer = Buffer::aligned_for::<u64>();
        assert!(buffer.grow(8));
        assert!(!buffer.grow(usize::MAX));
        assert!(!buffer.grow(isize::MAX as usize - 16));
        assert!(!buffer.grow(0));
        assert_eq!(buffer.len(), 8);
    }
}
