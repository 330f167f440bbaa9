//! Linear memories as the host holds them.

use crate::error::AccessError;
use crate::item::MemoryItem;
use crate::store::{Store, StoreInner};
use crate::value::Handle;
use core::fmt;
use core::ptr;
use vmexternref_core::OutOfMemory;
use vmexternref_engine_abi::MemoryType;

/// A linear memory of a store.
///
/// It names the memory, and is valid only together with the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Memory(pub(crate) Handle<MemoryItem>);

impl Memory {
    /// A memory of zeros.
    ///
    /// # Errors
    ///
    /// An impossible type, a size beyond the store's limits, or no memory.
    pub fn new(store: &Store, ty: MemoryType) -> Result<Self, AccessError> {
        let limits = store.limits();
        let memory = MemoryItem::new(ty, limits.max_memory_pages, &store.inner().budget)?;
        Ok(Self::keep(store.inner(), memory)?)
    }

    pub(crate) fn keep(store: &StoreInner, memory: MemoryItem) -> Result<Self, OutOfMemory> {
        let item = store.memories.add(memory)?;
        // SAFETY: the store's arena keeps the item in place.
        Ok(Self(unsafe { Handle::new(store.id(), item) }))
    }

    fn item<'s>(&self, store: &'s Store) -> Result<&'s MemoryItem, AccessError> {
        Ok(self.0.resolve(store.inner().identity())?)
    }

    /// Its type; the minimum is the current size.
    ///
    /// # Errors
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: &Store) -> Result<MemoryType, AccessError> {
        Ok(self.item(store)?.ty())
    }

    /// The number of pages, of 64 KiB each.
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
    /// When a limit or the host's memory is exhausted, or it belongs to another store.
    pub fn grow(&self, store: &Store, delta: u32) -> Result<u32, AccessError> {
        self.item(store)?.grow(delta)
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

    /// The bytes of the memory, until it grows.
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
    use super::Memory;
    use crate::error::AccessError;
    use crate::testing::store;
    use vmexternref_engine_abi::MemoryType;

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
