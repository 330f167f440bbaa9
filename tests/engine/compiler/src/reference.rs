//! The books of deferred reference counting: what happens when a reference is loaded or stored.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Value};
use vmexternref_engine_abi::{Builtin, ValType};

use crate::function::Translator;
use crate::unentered::Keeper;

impl Translator<'_, '_> {
    /// Enters a reference into the activations table; while that collects, it keeps `kept` too.
    ///
    /// ```text
    ///   null? ------------------------------------.
    ///   next == end? --yes--> insert_ref (cold) --|
    ///   slot = reference; next += 1; count += 1 --|   (an owned one has its count)
    ///                                             V
    /// ```
    ///
    /// Only the value that comes out is one that the stack maps know: while the runtime collects in order to insert
    /// the loaded word, nothing but its own clone keeps that object alive.
    pub(crate) fn enter_reference(
        &mut self,
        loaded: Value,
        keeper: Keeper,
        kept: Option<Value>,
    ) -> Value {
        let [check, insert, slow, done] = self.blocks();
        let reference = self.append_param(done, ValType::ExternRef);
        self.emit.builder.set_cold_block(slow);
        let first = if self.emit.env.zeal { slow } else { check };
        self.ins().brif(loaded, first, &[], done, &[loaded.into()]);
        if !self.emit.env.zeal {
            self.insert_inline(loaded, keeper, [check, insert, slow]);
            self.ins().jump(done, &[loaded.into()]);
        }
        self.enter(slow);
        let kept = kept.unwrap_or_else(|| self.emit.address(0));
        let owned = self.emit.constant(u32::from(keeper == Keeper::Count));
        self.call_builtin(Builtin::InsertRef, &[loaded, kept, owned]);
        self.ins().jump(done, &[loaded.into()]);
        self.enter(done);
        reference
    }

    fn insert_inline(&mut self, loaded: Value, keeper: Keeper, blocks: [Block; 3]) {
        let [check, insert, slow] = blocks;
        self.enter(check);
        let (pointer, core, vm) = (self.emit.env.pointer, self.emit.env.core, self.emit.env.vm);
        let (slots, free) = (self.emit.access.slots, self.emit.access.free_slots);
        let context = self.emit.store_context(self.vmctx);
        let at = |offset: u8| i32::from(vm.store_table()) + i32::from(offset);
        let (next_at, end_at) = (at(core.table_next()), at(core.table_end()));
        let next = self.ins().load(pointer, free, context, next_at);
        let end = self.ins().load(pointer, free, context, end_at);
        let full = self.ins().icmp(IntCC::Equal, next, end);
        self.ins().brif(full, slow, &[], insert, &[]);

        self.enter(insert);
        self.ins().store(slots, loaded, next, 0);
        let slot = self.emit.address(i64::from(core.table_slot()));
        let next = self.ins().iadd(next, slot);
        self.ins().store(free, next, context, next_at);
        if keeper != Keeper::Count {
            self.add_to_count(loaded, 1);
        }
    }

    /// Counts a reference, unless it is null or has its count.
    pub(crate) fn count(&mut self, reference: Value, keeper: Option<Keeper>) {
        if keeper == Some(Keeper::Count) {
            return;
        }
        let [count, done] = self.blocks();
        self.ins().brif(reference, count, &[], done, &[]);
        self.enter(count);
        self.add_to_count(reference, 1);
        self.ins().jump(done, &[]);
        self.enter(done);
    }

    /// Stores a reference over another one: counts the new one, stores, and counts the old one off.
    ///
    /// The drop function runs after the store is complete, because a destructor may look at the place. So no operand
    /// waits to be entered.
    pub(crate) fn replace(
        &mut self,
        new: Value,
        keeper: Option<Keeper>,
        address: Value,
        flags: MemFlagsData,
    ) {
        debug_assert!(self.unentered.is_empty(), "a destructor could free it");
        let pointer = self.emit.env.pointer;
        self.count(new, keeper);
        let [release, done] = self.blocks();
        let old = self.ins().load(pointer, flags, address, 0);
        self.ins().store(flags, new, address, 0);
        self.ins().brif(old, release, &[], done, &[]);

        self.enter(release);
        let left = self.add_to_count(old, -1);
        let dead = self.emit.builder.create_block();
        self.emit.builder.set_cold_block(dead);
        self.ins().brif(left, done, &[], dead, &[]);

        self.enter(dead);
        self.call_builtin(Builtin::DropRef, &[old]);
        self.ins().jump(done, &[]);
        self.enter(done);
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

    /// Goes on in a block to which all branches have been made.
    fn enter(&mut self, block: Block) {
        self.emit.builder.seal_block(block);
        self.emit.builder.switch_to_block(block);
    }
}
