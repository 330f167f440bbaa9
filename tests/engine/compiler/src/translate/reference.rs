//! Deferred reference counting: insertions, and counts of stored references.

use crate::translate::ownership::Ownership;
use crate::translate::translator::Translator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Value};
use vmexternref_engine_abi::{Builtin, ValType};

impl Translator<'_, '_> {
    /// Inserts a reference into the activations table. A collection during the insertion keeps
    /// `kept` alive too.
    ///
    /// ```text
    ///   null? ------------------------------------.
    ///   next == end? --yes--> insert_ref (cold) --|
    ///   slot = reference; next += 1; count += 1 --|   (an owned one has its count)
    ///                                             V
    /// ```
    ///
    /// The stack maps know the returned value, but not the loaded word. While the runtime collects
    /// in order to insert that word, only the runtime's own clone keeps the object alive.
    pub(crate) fn insert_reference(
        &mut self,
        loaded: Value,
        ownership: Ownership,
        kept: Option<Value>,
    ) -> Value {
        let [check, insert, slow, done] = self.blocks();
        let reference = self.append_param(done, ValType::ExternRef);
        self.emit.builder.set_cold_block(slow);
        let first = if self.emit.env.zeal { slow } else { check };
        self.ins().brif(loaded, first, &[], done, &[loaded.into()]);
        if !self.emit.env.zeal {
            self.insert_inline(loaded, ownership, [check, insert, slow]);
            self.ins().jump(done, &[loaded.into()]);
        }
        self.emit.continue_in(slow);
        let kept = kept.unwrap_or_else(|| self.emit.address(0));
        let owned = self.emit.constant(u32::from(ownership == Ownership::Owned));
        self.call_builtin(Builtin::InsertRef, &[loaded, kept, owned]);
        self.ins().jump(done, &[loaded.into()]);
        self.emit.continue_in(done);
        reference
    }

    fn insert_inline(&mut self, loaded: Value, ownership: Ownership, blocks: [Block; 3]) {
        let [check, insert, slow] = blocks;
        self.emit.continue_in(check);
        let (pointer, core, vm) = (self.emit.env.pointer, self.emit.env.core, self.emit.env.vm);
        let (slots, free) = (self.emit.access.slots, self.emit.access.free_slots);
        let context = self.emit.store_context(self.vmctx);
        let at = |offset: u8| i32::from(vm.store_table()) + i32::from(offset);
        let (next_at, end_at) = (at(core.table_next()), at(core.table_end()));
        let next = self.ins().load(pointer, free, context, next_at);
        let end = self.ins().load(pointer, free, context, end_at);
        let full = self.ins().icmp(IntCC::Equal, next, end);
        self.ins().brif(full, slow, &[], insert, &[]);

        self.emit.continue_in(insert);
        self.ins().store(slots, loaded, next, 0);
        let slot = self.emit.address(i64::from(core.table_slot()));
        let next = self.ins().iadd(next, slot);
        self.ins().store(free, next, context, next_at);
        if ownership != Ownership::Owned {
            self.add_to_count(loaded, 1);
        }
    }

    /// Adds a count to a reference, unless it is null or owns one.
    pub(crate) fn count(&mut self, reference: Value, ownership: Ownership) {
        if ownership == Ownership::Owned {
            return;
        }
        let [count, done] = self.blocks();
        self.ins().brif(reference, count, &[], done, &[]);
        self.emit.continue_in(count);
        self.add_to_count(reference, 1);
        self.ins().jump(done, &[]);
        self.emit.continue_in(done);
    }

    /// Stores a reference over another one: counts the new one, stores it, and releases the old
    /// one.
    ///
    /// The drop function runs after the store, because a destructor may read the place. No operand
    /// is pending then.
    pub(crate) fn replace(
        &mut self,
        new: Value,
        ownership: Ownership,
        address: Value,
        flags: MemFlagsData,
    ) {
        debug_assert!(
            self.pending.is_empty(),
            "a destructor could free a pending operand"
        );
        let pointer = self.emit.env.pointer;
        self.count(new, ownership);
        let [release, done] = self.blocks();
        let old = self.ins().load(pointer, flags, address, 0);
        self.ins().store(flags, new, address, 0);
        self.ins().brif(old, release, &[], done, &[]);

        self.emit.continue_in(release);
        let left = self.add_to_count(old, -1);
        let dead = self.emit.builder.create_block();
        self.emit.builder.set_cold_block(dead);
        self.ins().brif(left, done, &[], dead, &[]);

        self.emit.continue_in(dead);
        self.call_builtin(Builtin::DropRef, &[old]);
        self.ins().jump(done, &[]);
        self.emit.continue_in(done);
    }

    /// Adds to the reference count of a box, and returns the new count.
    fn add_to_count(&mut self, reference: Value, change: i64) -> Value {
        let (pointer, flags) = (self.emit.env.pointer, self.emit.access.counts);
        let offset = i32::from(self.emit.env.core.ref_count());
        let count = self.ins().load(pointer, flags, reference, offset);
        let change = self.emit.address(change);
        let count = self.ins().iadd(count, change);
        self.ins().store(flags, count, reference, offset);
        count
    }

    fn blocks<const N: usize>(&mut self) -> [Block; N] {
        core::array::from_fn(|_| self.emit.builder.create_block())
    }
}
