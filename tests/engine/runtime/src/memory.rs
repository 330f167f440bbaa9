//! Linear memories.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::mem::offset_of;
use core::ptr::{self, NonNull};

use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::{MemoryType, TrapCode, VMMemory};

use crate::buffer::Buffer;
use crate::error::AccessError;
use crate::handle::Handle;
use crate::store::{Store, StoreInner};

const PAGE: usize = 1 << 16;
/// Pages that a 32-bit address can reach.
const MAX_PAGES: u32 = 1 << 16;

/// A memory as the store owns it; compiled code knows the address of its first field.
///
/// Growing may move it: compiled code loads base and length anew at each access, and calls are the only places at
/// which it can grow.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct MemoryItem {
    vm: VMMemory,
    /// Where `vm.base` points to.
    bytes: RefCell<Buffer>,
    /// As declared.
    declared_maximum: Option<u32>,
    /// The least of all limits.
    maximum: u32,
}

const _: () = assert!(offset_of!(MemoryItem, vm) == 0);

impl MemoryItem {
    /// A memory of zeros.
    pub(crate) fn new(ty: MemoryType, store_maximum: u32) -> Result<Self, AccessError> {
        if ty.minimum > MAX_PAGES || ty.maximum.is_some_and(|maximum| maximum < ty.minimum) {
            return Err(AccessError::InvalidType);
        }
        if ty.minimum > store_maximum {
            return Err(AccessError::LimitReached);
        }
        let memory = Self {
            vm: VMMemory {
                base: Cell::new(NonNull::dangling().as_ptr()),
                len: Cell::new(0),
            },
            bytes: RefCell::new(Buffer::aligned_for::<u128>()),
            declared_maximum: ty.maximum,
            maximum: ty
                .maximum
                .unwrap_or(MAX_PAGES)
                .min(MAX_PAGES)
                .min(store_maximum),
        };
        memory.grow(ty.minimum).ok_or(AccessError::OutOfMemory)?;
        Ok(memory)
    }

    /// What compiled code knows of the memory.
    pub(crate) const fn vm(&self) -> &VMMemory {
        &self.vm
    }

    /// The type, with the present size for a minimum, as linking compares it.
    pub(crate) fn ty(&self) -> MemoryType {
        MemoryType {
            minimum: self.pages(),
            maximum: self.declared_maximum,
        }
    }

    /// How many pages there are.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "`grow` keeps the size within `MAX_PAGES`"
    )]
    pub(crate) fn pages(&self) -> u32 {
        (self.vm.len.get() / PAGE) as u32
    }

    /// Appends `delta` pages of zeros and returns the old size; `None` if that is too much.
    pub(crate) fn grow(&self, delta: u32) -> Option<u32> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|&new| new <= self.maximum)?;
        let bytes = (new as usize).checked_mul(PAGE)?;
        let mut buffer = self.bytes.borrow_mut();
        buffer.grow(bytes).then_some(())?;
        self.vm.base.set(buffer.base().as_ptr());
        self.vm.len.set(bytes);
        Some(old)
    }

    /// The address of `count` bytes at `offset`.
    pub(crate) fn at(&self, offset: u32, count: usize) -> Result<*mut u8, TrapCode> {
        let offset = offset as usize;
        let end = offset.checked_add(count);
        match end {
            Some(end) if end <= self.vm.len.get() => Ok(self.vm.base.get().wrapping_add(offset)),
            _ => Err(TrapCode::MemoryOutOfBounds),
        }
    }

    /// Stores `byte` into `count` bytes.
    pub(crate) fn fill(&self, to: u32, byte: u8, count: u32) -> Result<(), TrapCode> {
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
    ) -> Result<(), TrapCode> {
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
    ) -> Result<(), TrapCode> {
        let end = (from as usize).checked_add(count as usize);
        let bytes = end.and_then(|end| segment.get(from as usize..end));
        self.write(to, bytes.ok_or(TrapCode::MemoryOutOfBounds)?)
    }

    /// Copies `bytes` into the memory.
    pub(crate) fn write(&self, to: u32, bytes: &[u8]) -> Result<(), TrapCode> {
        let to = self.at(to, bytes.len())?;
        // SAFETY: `at` found as many bytes there; `ptr::copy` does not mind if the host's slice is of this memory.
        unsafe { ptr::copy(bytes.as_ptr(), to, bytes.len()) };
        Ok(())
    }

    /// Copies from the memory into `bytes`.
    pub(crate) fn read(&self, from: u32, bytes: &mut [u8]) -> Result<(), TrapCode> {
        let from = self.at(from, bytes.len())?;
        // SAFETY: `at` found as many initialized bytes there.
        unsafe { ptr::copy(from, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
}

/// A linear memory of a store: a name that is only good together with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub(crate) Handle<MemoryItem>);

impl Memory {
    /// A memory of zeros.
    ///
    /// # Errors
    ///
    /// An impossible type, a size beyond the store's limits, or no memory.
    pub fn new(store: &Store, ty: MemoryType) -> Result<Self, AccessError> {
        let memory = MemoryItem::new(ty, store.limits().max_memory_pages)?;
        Ok(Self::keep(store.inner(), memory)?)
    }

    pub(crate) fn keep(store: &StoreInner, memory: MemoryItem) -> Result<Self, OutOfMemory> {
        let item = store.memories.add(memory)?;
        // SAFETY: the store's arena keeps the item in place.
        Ok(Self(unsafe { Handle::new(store.id(), item) }))
    }

    fn item<'s>(&self, store: &'s Store) -> Result<&'s MemoryItem, AccessError> {
        Ok(self.0.resolve(store.inner())?)
    }

    /// Its type, with the present size for a minimum.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<MemoryType, AccessError> {
        Ok(self.item(store)?.ty())
    }

    /// How many pages of 64 KiB there are.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn size(&self, store: &Store) -> Result<u32, AccessError> {
        Ok(self.item(store)?.pages())
    }

    /// Appends `delta` pages of zeros and returns the old size.
    ///
    /// # Errors
    ///
    /// When a limit is reached or there is no memory, or it belongs to another store.
    pub fn grow(&self, store: &Store, delta: u32) -> Result<u32, AccessError> {
        self.item(store)?
            .grow(delta)
            .ok_or(AccessError::LimitReached)
    }

    /// Copies bytes at `from` to the host.
    ///
    /// # Errors
    ///
    /// When there are no such bytes, or it belongs to another store.
    pub fn read(&self, store: &Store, from: u32, bytes: &mut [u8]) -> Result<(), AccessError> {
        Ok(self.item(store)?.read(from, bytes)?)
    }

    /// Copies bytes of the host to `to`.
    ///
    /// # Errors
    ///
    /// When there are no such bytes, or it belongs to another store.
    pub fn write(&self, store: &Store, to: u32, bytes: &[u8]) -> Result<(), AccessError> {
        Ok(self.item(store)?.write(to, bytes)?)
    }

    /// Where the bytes are until the memory grows.
    ///
    /// Every call into Wasm may grow it.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn data(&self, store: &Store) -> Result<*mut [u8], AccessError> {
        let vm = self.item(store)?.vm();
        Ok(ptr::slice_from_raw_parts_mut(vm.base.get(), vm.len.get()))
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use vmexternref_engine_abi::MemoryType;

    use super::Memory;
    use crate::error::AccessError;
    use crate::testing::store;

    #[test]
    fn grown_pages_are_zero_and_contents_stay() {
        let store = store();
        let ty = MemoryType {
            minimum: 1,
            maximum: Some(3),
        };
        let memory = Memory::new(&store, ty).unwrap();
        memory.write(&store, 0xfffe, &[1, 2]).unwrap();
        assert_eq!(memory.grow(&store, 1), Ok(1));
        let mut bytes = [9; 4];
        memory.read(&store, 0xfffe, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 0, 0]);
        assert_eq!(memory.grow(&store, 2), Err(AccessError::LimitReached));
        assert_eq!(memory.size(&store), Ok(2));
    }

    #[test]
    fn bounds_are_errors() {
        let store = store();
        let ty = MemoryType {
            minimum: 1,
            maximum: None,
        };
        let memory = Memory::new(&store, ty).unwrap();
        let outside = Err(AccessError::MemoryOutOfBounds);
        assert_eq!(memory.write(&store, 0xffff, &[1, 2]), outside);
        assert_eq!(memory.write(&store, u32::MAX, &[1]), outside);
        assert_eq!(memory.write(&store, 0x1_0000, &[]), Ok(()));
        assert_eq!(memory.grow(&store, 4), Err(AccessError::LimitReached));
    }
}
