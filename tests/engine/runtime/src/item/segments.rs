//! The segments of an instance.

use crate::error::{OutsideMemory, OutsideTable};
use crate::item::instance_item::InstanceItem;
use crate::value::Reference;

impl InstanceItem {
    /// Copies elements of a segment to a table. A dropped segment is empty.
    ///
    /// A segment owns no references. Its elements are constants, which refer to functions and
    /// immutable globals, and these live as long as the store.
    pub(crate) fn table_init(
        &self,
        table: u32,
        segment: u32,
        to: u32,
        from: u32,
        count: u32,
    ) -> Result<(), OutsideTable> {
        let dropped = self.parts.dropped_elements[segment as usize].get();
        let segment = &self.module.compiled().elements[segment as usize];
        let items = if dropped { &[][..] } else { &segment.items };
        self.table(table)
            .init(to, items.len(), from, count, |index| {
                // SAFETY: the instance's globals live as long as its store.
                let word = unsafe { self.scope().word(items[index]) };
                // SAFETY: `check` found the constant to be of that type, and the store keeps its
                // object alive.
                unsafe { Reference::clone_from_raw(segment.ty, word) }
            })
    }

    /// Copies bytes of a segment to a memory. A dropped segment is empty.
    pub(crate) fn memory_init(
        &self,
        memory: u32,
        segment: u32,
        to: u32,
        from: u32,
        count: u32,
    ) -> Result<(), OutsideMemory> {
        let dropped = self.parts.dropped_data[segment as usize].get();
        let segment = &self.module.compiled().data[segment as usize];
        let bytes = if dropped { &[][..] } else { &segment.bytes };
        self.memory(memory).init(to, bytes, from, count)
    }

    /// Makes an element segment empty.
    pub(crate) fn elem_drop(&self, segment: u32) {
        self.parts.dropped_elements[segment as usize].set(true);
    }

    /// Makes a data segment empty.
    pub(crate) fn data_drop(&self, segment: u32) {
        self.parts.dropped_data[segment as usize].set(true);
    }
}
