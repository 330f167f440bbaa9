//! Linear memories.

use crate::error::{AccessError, OutsideMemory};
use crate::heap::{Budget, Buffer};
use core::cell::{Cell, RefCell};
use core::mem::offset_of;
use core::ptr::{self, NonNull};
use vmexternref_engine_abi::{MemoryType, VMMemory};

/// Bytes in a page.
const PAGE: usize = MemoryType::PAGE_BYTES as usize;

/// A memory as the store owns it.
///
/// Compiled code knows the address of its first field. A memory may move when it grows, and it
/// grows only during calls. Compiled code loads base and length anew at each access.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct MemoryItem {
    vm: VMMemory,
    /// The target of `vm.base`.
    bytes: RefCell<Buffer>,
    /// The maximum of its type.
    declared_maximum: Option<u32>,
    /// The least of all limits.
    maximum: u32,
}

const _: () = assert!(offset_of!(MemoryItem, vm) == 0);

impl MemoryItem {
    /// A memory of zeros, which takes its bytes from `budget`.
    pub(crate) fn new(
        ty: MemoryType,
        store_maximum: u32,
        budget: &Budget,
    ) -> Result<Self, AccessError> {
        if !ty.is_valid() {
            return Err(AccessError::InvalidType);
        }
        let memory = Self {
            vm: VMMemory {
                base: Cell::new(NonNull::dangling().as_ptr()),
                len: Cell::new(0),
            },
            bytes: RefCell::new(Buffer::aligned_for::<u128>(budget.clone())),
            declared_maximum: ty.maximum,
            maximum: ty
                .maximum
                .unwrap_or(MemoryType::MAX_PAGES)
                .min(MemoryType::MAX_PAGES)
                .min(store_maximum),
        };
        memory.grow(ty.minimum)?;
        Ok(memory)
    }

    /// The part that compiled code reads.
    pub(crate) const fn vm(&self) -> &VMMemory {
        &self.vm
    }

    /// Its type; the minimum is the current size, which imports are matched with.
    pub(crate) fn ty(&self) -> MemoryType {
        MemoryType {
            minimum: self.pages(),
            maximum: self.declared_maximum,
        }
    }

    /// The number of pages.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`grow` keeps the size within `MemoryType::MAX_PAGES`"
    )]
    pub(crate) fn pages(&self) -> u32 {
        (self.vm.len.get() / PAGE) as u32
    }

    /// Appends `delta` pages of zeros and returns the old size.
    pub(crate) fn grow(&self, delta: u32) -> Result<u32, AccessError> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|&new| new <= self.maximum);
        let new = new.ok_or(AccessError::LimitReached)?;
        let bytes = (new as usize).checked_mul(PAGE);
        let bytes = bytes.ok_or(AccessError::OutOfMemory)?;
        let mut buffer = self.bytes.borrow_mut();
        buffer.grow(bytes)?;
        self.vm.base.set(buffer.base().as_ptr());
        self.vm.len.set(bytes);
        Ok(old)
    }

    /// The address of `count` bytes at `offset`.
    pub(crate) fn at(&self, offset: u32, count: usize) -> Result<*mut u8, OutsideMemory> {
        let offset = offset as usize;
        let end = offset.checked_add(count);
        match end {
            Some(end) if end <= self.vm.len.get() => Ok(self.vm.base.get().wrapping_add(offset)),
            _ => Err(OutsideMemory),
        }
    }

    /// Stores `byte` into `count` bytes.
    pub(crate) fn fill(&self, to: u32, byte: u8, count: u32) -> Result<(), OutsideMemory> {
        let to = self.at(to, count as usize)?;
        // SAFETY: `at` found `count` bytes of this memory there.
        unsafe { ptr::write_bytes(to, byte, count as usize) };
        Ok(())
    }

    /// Copies bytes within a memory or between two, as if through a third.
    pub(crate) fn copy(
        &self,
        to: u32,
        source: &Self,
        from: u32,
        count: u32,
    ) -> Result<(), OutsideMemory> {
        let from = source.at(from, count as usize)?;
        let to = self.at(to, count as usize)?;
        // SAFETY: `at` found `count` bytes at both places.
        unsafe { ptr::copy(from, to, count as usize) };
        Ok(())
    }

    /// Copies `count` bytes of a segment.
    pub(crate) fn init(
        &self,
        to: u32,
        segment: &[u8],
        from: u32,
        count: u32,
    ) -> Result<(), OutsideMemory> {
        let end = (from as usize).checked_add(count as usize);
        let bytes = end.and_then(|end| segment.get(from as usize..end));
        self.write(to, bytes.ok_or(OutsideMemory)?)
    }

    /// Copies `bytes` into the memory.
    pub(crate) fn write(&self, to: u32, bytes: &[u8]) -> Result<(), OutsideMemory> {
        let to = self.at(to, bytes.len())?;
        // SAFETY: `at` found as many bytes there; `ptr::copy` allows the host's slice to overlap
        // the memory.
        unsafe { ptr::copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies from the memory into `bytes`.
    pub(crate) fn read(&self, from: u32, bytes: &mut [u8]) -> Result<(), OutsideMemory> {
        let from = self.at(from, bytes.len())?;
        // SAFETY: `at` found as many initialized bytes there.
        unsafe { ptr::copy(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
}
