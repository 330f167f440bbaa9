//! Inline sequences that insert, count and release references.

use crate::Offsets;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Type, Value};
use cranelift_codegen::isa::TargetIsa;
use cranelift_frontend::FunctionBuilder;

/// Emits what compiled code does with references.
///
/// | the guest | compiled code |
/// | --- | --- |
/// | loads a reference from a table or a global, and keeps it | [`insert`](Self::insert) |
/// | stores one over another | [`replace`](Self::replace) |
/// | stores one where none was | [`increment`](Self::increment) |
/// | gives one up that is not stored again | [`decrement`](Self::decrement) |
/// | copies, drops or passes on one that is inserted | nothing |
///
/// Each sequence passes over null. Rare cases need a call of the host: the sequence then leaves the
/// builder in a cold block for it, and gives back a value whose `finish` goes on behind.
///
/// ```
/// use cranelift_codegen::ir::{FuncRef, InstBuilder, MemFlagsData, Value};
/// use cranelift_frontend::FunctionBuilder;
/// use vmexternref::cranelift::References;
///
/// /// `local.set (table.get …)`: loads the reference at `element`, and keeps it.
/// fn table_get(
///     builder: &mut FunctionBuilder<'_>,
///     references: &References,
///     context: Value, // its first field is the activations table
///     element: Value,
///     insert_with_gc: FuncRef,
/// ) -> Value {
///     let pointer = builder.func.dfg.value_type(element);
///     let loaded = builder.ins().load(pointer, MemFlagsData::trusted(), element, 0);
///     let insertion = references.insert(builder, context, 0, loaded);
///     builder.ins().call(insert_with_gc, &[context, loaded]);
///     insertion.finish(builder)
/// }
///
/// /// `table.set`: stores an inserted reference, or null.
/// fn table_set(
///     builder: &mut FunctionBuilder<'_>,
///     references: &References,
///     element: Value,
///     reference: Value,
///     drop_extern_ref: FuncRef,
/// ) {
///     let release = references.replace(builder, reference, element, MemFlagsData::trusted());
///     builder.ins().call(drop_extern_ref, &[release.dead()]);
///     release.finish(builder);
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct References {
    offsets: Offsets,
    pointer: Type,
    access: ReferenceAccess,
    immediate_bits: u8,
    zeal: bool,
}

/// Flags of the loads and stores that [`References`] emits.
///
/// Where a compiler has alias regions, each of these is one of its own, and no other load or store
/// may be in it. By default there are none.
#[derive(Clone, Copy, Debug)]
pub struct ReferenceAccess {
    /// Reference counts.
    pub counts: MemFlagsData,
    /// The two words at the start of an activations table.
    pub free_slots: MemFlagsData,
    /// The slots of an activations table.
    pub slots: MemFlagsData,
}

impl Default for ReferenceAccess {
    fn default() -> Self {
        let trusted = MemFlagsData::trusted();
        Self {
            counts: trusted,
            free_slots: trusted,
            slots: trusted,
        }
    }
}

/// An insertion whose slow path is being emitted.
#[derive(Debug)]
#[must_use = "the builder is in the block of the slow path"]
pub struct Insertion {
    done: Block,
    loaded: Value,
    inserted: Value,
}

/// A released reference, while the call that destroys its box is being emitted.
#[derive(Debug)]
#[must_use = "the builder is in the block where the box is dead"]
pub struct Release {
    done: Block,
    dead: Value,
}

impl References {
    /// Sequences for the target of `isa`.
    #[must_use]
    pub fn new(isa: &dyn TargetIsa) -> Self {
        Self {
            offsets: Offsets::new(isa.pointer_bytes()),
            pointer: isa.pointer_type(),
            access: ReferenceAccess::default(),
            immediate_bits: 0,
            zeal: false,
        }
    }

    /// The same with other flags of loads and stores.
    #[must_use]
    pub fn with_access(mut self, access: ReferenceAccess) -> Self {
        self.access = access;
        self
    }

    /// The same for guests whose words may be
    /// [immediates](crate::VMExternRefActivationsTable::set_immediate_bits) with one of these bits.
    ///
    /// # Panics
    ///
    /// If a bit is not among [`Offsets::immediate_bits`].
    #[must_use]
    pub fn with_immediate_bits(mut self, bits: u8) -> Self {
        assert_eq!(
            bits & !self.offsets.immediate_bits(),
            0,
            "references have these bits too"
        );
        self.immediate_bits = bits;
        self
    }

    /// The same, but each insertion takes the slow path, which can then always collect.
    ///
    /// This alone does not collect: `insert_with_gc` does so only where the table is full. So call
    /// [`gc`](crate::gc) in the slow path's host function, after it has cloned the reference and
    /// before it inserts the clone. A wrong stack map then shows at once.
    #[must_use]
    pub fn with_zeal(mut self, zeal: bool) -> Self {
        self.zeal = zeal;
        self
    }

    /// Inserts a reference into the activations table at `context + table_offset`.
    ///
    /// ```text
    ///   null or immediate? -----------------------.
    ///   next == end? --yes--> the slow path ------|
    ///   slot = reference; next += 1; count += 1 --|
    ///                                             V
    /// ```
    ///
    /// The builder is left in the slow path's block. Emit a call there of a host function that
    /// takes `reference`, clones it by [`clone_from_raw`](crate::VMExternRef::clone_from_raw), and
    /// gives the clone to
    /// [`insert_with_gc`](crate::VMExternRefActivationsTable::insert_with_gc). Then
    /// [`finish`](Insertion::finish).
    ///
    /// Nothing may be stored, called or collected between the load of `reference` and this.
    /// `reference` itself must not be in stack maps: in the slow path only the clone keeps it.
    pub fn insert(
        &self,
        builder: &mut FunctionBuilder<'_>,
        context: Value,
        table_offset: i32,
        reference: Value,
    ) -> Insertion {
        self.insert_as(builder, context, table_offset, reference, false)
    }

    /// [`insert`](Self::insert) for a reference that compiled code holds a count of.
    ///
    /// The table takes the count over.
    ///
    /// The host function of the slow path takes the reference by
    /// [`from_raw`](crate::VMExternRef::from_raw).
    pub fn insert_owned(
        &self,
        builder: &mut FunctionBuilder<'_>,
        context: Value,
        table_offset: i32,
        reference: Value,
    ) -> Insertion {
        self.insert_as(builder, context, table_offset, reference, true)
    }

    fn insert_as(
        &self,
        builder: &mut FunctionBuilder<'_>,
        context: Value,
        table_offset: i32,
        loaded: Value,
        owned: bool,
    ) -> Insertion {
        let [slow, done] = blocks(builder);
        builder.set_cold_block(slow);
        let inserted = builder.append_block_param(done, self.pointer);
        builder.declare_value_needs_stack_map(inserted);
        self.skip_others(builder, loaded, done, &[loaded]);
        if self.zeal {
            builder.ins().jump(slow, &[]);
        } else {
            self.insert_inline(builder, context, table_offset, loaded, owned, slow);
            builder.ins().jump(done, &[loaded.into()]);
        }
        continue_in(builder, slow);
        Insertion {
            done,
            loaded,
            inserted,
        }
    }

    fn insert_inline(
        &self,
        builder: &mut FunctionBuilder<'_>,
        context: Value,
        table_offset: i32,
        loaded: Value,
        owned: bool,
        slow: Block,
    ) {
        let (pointer, flags) = (self.pointer, self.access.free_slots);
        let next_at = table_offset + i32::from(self.offsets.table_next());
        let end_at = table_offset + i32::from(self.offsets.table_end());
        let next = builder.ins().load(pointer, flags, context, next_at);
        let end = builder.ins().load(pointer, flags, context, end_at);
        let full = builder.ins().icmp(IntCC::Equal, next, end);
        let insert = builder.create_block();
        builder.ins().brif(full, slow, &[], insert, &[]);

        continue_in(builder, insert);
        builder.ins().store(self.access.slots, loaded, next, 0);
        let slot = i64::from(self.offsets.table_slot());
        let slot = builder.ins().iconst(pointer, slot);
        let next = builder.ins().iadd(next, slot);
        builder.ins().store(flags, next, context, next_at);
        if !owned {
            self.add_to_count(builder, loaded, 1);
        }
    }

    /// Adds one to the count of a reference that is stored where a collection does not look: in a
    /// table, a global or a field.
    pub fn increment(&self, builder: &mut FunctionBuilder<'_>, reference: Value) {
        let done = builder.create_block();
        self.skip_others(builder, reference, done, &[]);
        self.add_to_count(builder, reference, 1);
        builder.ins().jump(done, &[]);
        continue_in(builder, done);
    }

    /// Takes one from the count of a reference that compiled code gives up.
    ///
    /// The builder is left in the block where the count is zero. Emit a call there of
    /// [`drop_extern_ref`](crate::drop_extern_ref), or of a function that calls it, with
    /// [`dead`](Release::dead). Then [`finish`](Release::finish).
    ///
    /// The destructor runs there, and may read every place that the guest can: do all stores
    /// before.
    pub fn decrement(&self, builder: &mut FunctionBuilder<'_>, reference: Value) -> Release {
        let [dead, done] = blocks(builder);
        builder.set_cold_block(dead);
        self.skip_others(builder, reference, done, &[]);
        let left = self.add_to_count(builder, reference, -1);
        builder.ins().brif(left, done, &[], dead, &[]);
        continue_in(builder, dead);
        Release {
            done,
            dead: reference,
        }
    }

    /// Stores an inserted reference over another one, at `address`: counts the new one, stores it,
    /// and releases the old one, in this order.
    ///
    /// The builder is left as by [`decrement`](Self::decrement) of the old one.
    pub fn replace(
        &self,
        builder: &mut FunctionBuilder<'_>,
        new: Value,
        address: Value,
        flags: MemFlagsData,
    ) -> Release {
        self.increment(builder, new);
        self.replace_owned(builder, new, address, flags)
    }

    /// [`replace`](Self::replace) for a reference that compiled code holds a count of, which the
    /// place takes over.
    pub fn replace_owned(
        &self,
        builder: &mut FunctionBuilder<'_>,
        new: Value,
        address: Value,
        flags: MemFlagsData,
    ) -> Release {
        let old = builder.ins().load(self.pointer, flags, address, 0);
        builder.ins().store(flags, new, address, 0);
        self.decrement(builder, old)
    }

    /// Branches to `done` with words that are no references, and goes on with the others.
    fn skip_others(
        &self,
        builder: &mut FunctionBuilder<'_>,
        word: Value,
        done: Block,
        args: &[Value],
    ) {
        let args: Vec<_> = args.iter().map(|arg| (*arg).into()).collect();
        let not_null = builder.create_block();
        builder.ins().brif(word, not_null, &[], done, &args);
        continue_in(builder, not_null);
        if self.immediate_bits != 0 {
            let bits = i64::from(self.immediate_bits);
            let bits = builder.ins().iconst(self.pointer, bits);
            let bits = builder.ins().band(word, bits);
            let reference = builder.create_block();
            builder.ins().brif(bits, done, &args, reference, &[]);
            continue_in(builder, reference);
        }
    }

    /// Adds to the count of a box, and returns the new count.
    fn add_to_count(
        &self,
        builder: &mut FunctionBuilder<'_>,
        reference: Value,
        change: i64,
    ) -> Value {
        let (pointer, flags) = (self.pointer, self.access.counts);
        let offset = i32::from(self.offsets.ref_count());
        let count = builder.ins().load(pointer, flags, reference, offset);
        let change = builder.ins().iconst(pointer, change);
        let count = builder.ins().iadd(count, change);
        builder.ins().store(flags, count, reference, offset);
        count
    }
}

impl Insertion {
    /// Ends the slow path, and goes on behind the insertion.
    ///
    /// Returns the inserted reference, which stack maps know. Use it and not the loaded one.
    pub fn finish(self, builder: &mut FunctionBuilder<'_>) -> Value {
        builder.ins().jump(self.done, &[self.loaded.into()]);
        continue_in(builder, self.done);
        self.inserted
    }
}

impl Release {
    /// The reference whose count is zero.
    #[must_use]
    pub fn dead(&self) -> Value {
        self.dead
    }

    /// Ends the block where the box is dead, and goes on behind.
    pub fn finish(self, builder: &mut FunctionBuilder<'_>) {
        builder.ins().jump(self.done, &[]);
        continue_in(builder, self.done);
    }
}

fn blocks<const N: usize>(builder: &mut FunctionBuilder<'_>) -> [Block; N] {
    core::array::from_fn(|_| builder.create_block())
}

/// Goes on in a block to which nothing else will branch.
fn continue_in(builder: &mut FunctionBuilder<'_>, block: Block) {
    builder.seal_block(block);
    builder.switch_to_block(block);
}

// Cranelift has no code generator for 32-bit hosts.
#[cfg(all(test, target_pointer_width = "64"))]
mod tests {
    use super::References;
    use crate::{Offsets, VMExternRef, VMExternRefActivationsTable, drop_extern_ref};
    use cranelift_codegen::control::ControlPlane;
    use cranelift_codegen::ir::{AbiParam, InstBuilder, MemFlagsData, Signature, Value};
    use cranelift_codegen::isa::OwnedTargetIsa;
    use cranelift_codegen::{Context, settings};
    use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
    use memmap2::{Mmap, MmapMut};
    use std::cell::Cell;
    use std::ptr;
    use std::rc::Rc;

    /// What the compiled functions get. Compiled code knows the first two fields.
    #[repr(C)]
    struct World {
        table: VMExternRefActivationsTable,
        element: Cell<*mut u8>,
        slow_paths: Cell<usize>,
        seen: Cell<Option<*mut u8>>,
    }

    const ELEMENT: usize = std::mem::offset_of!(World, element);

    impl World {
        /// A table of one entry, which has made it allocate, and of so many free slots.
        fn new(free_slots: usize) -> Self {
            let table = VMExternRefActivationsTable::with_capacity(free_slots + 1, 100);
            table.insert_without_gc(VMExternRef::new(()));
            Self {
                table,
                element: Cell::new(ptr::null_mut()),
                slow_paths: Cell::new(0),
                seen: Cell::new(None),
            }
        }
    }

    extern "C" fn insert(world: &World, raw: *mut u8) {
        world.slow_paths.set(world.slow_paths.get() + 1);
        // SAFETY: the tests pass references that they hold.
        let reference = unsafe { VMExternRef::clone_from_raw(raw) };
        world.table.insert_without_gc(reference);
    }

    extern "C" fn destroy(world: &World, raw: *mut u8) {
        world.seen.set(Some(world.element.get()));
        // SAFETY: compiled code has brought the count to zero.
        unsafe { drop_extern_ref(raw) };
    }

    fn isa() -> OwnedTargetIsa {
        let isa = cranelift_native::builder().expect("a known host");
        isa.finish(settings::Flags::new(settings::builder()))
            .expect("settings that fit")
    }

    /// A function `(world, reference) -> word`.
    struct Compiled(Mmap);

    impl Compiled {
        fn new(
            build: impl FnOnce(&mut FunctionBuilder<'_>, [Value; 2], [Callee; 2]) -> Value,
        ) -> Self {
            let isa = isa();
            let word = AbiParam::new(isa.pointer_type());
            let mut signature = Signature::new(isa.default_call_conv());
            signature.params = vec![word, word];
            let callee = signature.clone();
            signature.returns = vec![word];
            let mut context = Context::new();
            context.func.signature = signature;
            let mut builder_context = FunctionBuilderContext::new();
            let mut builder = FunctionBuilder::new(&mut context.func, &mut builder_context);
            let block = builder.create_block();
            builder.append_block_params_for_function_params(block);
            builder.switch_to_block(block);
            builder.seal_block(block);
            let &[world, reference] = builder.block_params(block) else {
                unreachable!("the signature has two parameters")
            };
            let callees = [insert as *const (), destroy as *const ()]
                .map(|function| (function.expose_provenance(), callee.clone()));
            let result = build(&mut builder, [world, reference], callees);
            builder.ins().return_(&[result]);
            builder.finalize(isa.frontend_config());
            let compiled = context.compile(&*isa, &mut ControlPlane::default());
            let compiled = compiled.expect("it compiles");
            let code = compiled.buffer.data();
            let mut memory = MmapMut::map_anon(code.len()).expect("a page");
            memory.copy_from_slice(code);
            Self(memory.make_exec().expect("executable memory"))
        }

        fn call(&self, world: &World, reference: *mut u8) -> *mut u8 {
            // SAFETY: it was compiled with this signature.
            let function: extern "C" fn(&World, *mut u8) -> *mut u8 =
                unsafe { std::mem::transmute(self.0.as_ptr()) };
            function(world, reference)
        }
    }

    type Callee = (usize, Signature);

    fn call(builder: &mut FunctionBuilder<'_>, (address, signature): &Callee, args: &[Value]) {
        let word = builder.func.dfg.value_type(args[0]);
        let address = builder.ins().iconst(word, address.cast_signed() as i64);
        let signature = builder.import_signature(signature.clone());
        builder.ins().call_indirect(signature, address, args);
    }

    fn inserting(references: References) -> Compiled {
        Compiled::new(|builder, [world, reference], [insert, _]| {
            let insertion = references.insert(builder, world, 0, reference);
            call(builder, &insert, &[world, reference]);
            insertion.finish(builder)
        })
    }

    #[test]
    fn an_insertion_fills_the_table_and_then_calls_the_host() {
        let code = inserting(References::new(&*isa()));
        let world = World::new(2);
        let reference = VMExternRef::new(7_u64);
        for inserted in 1..=3 {
            let raw = reference.as_raw();
            assert_eq!(code.call(&world, raw), raw);
            assert_eq!(world.table.len(), 1 + inserted);
            assert_eq!(reference.strong_count(), 1 + inserted);
        }
        assert_eq!(world.slow_paths.get(), 1, "two slots were free");
        drop(world);
        assert_eq!(reference.strong_count(), 1);
    }

    #[test]
    fn null_is_never_inserted_nor_counted() {
        for zeal in [false, true] {
            let code = inserting(References::new(&*isa()).with_zeal(zeal));
            let world = World::new(1);
            assert_eq!(code.call(&world, ptr::null_mut()), ptr::null_mut());
            assert_eq!((world.table.len(), world.slow_paths.get()), (1, 0));
        }
    }

    #[test]
    fn with_zeal_every_insertion_calls_the_host() {
        let code = inserting(References::new(&*isa()).with_zeal(true));
        let world = World::new(8);
        let reference = VMExternRef::new(7_u64);
        code.call(&world, reference.as_raw());
        code.call(&world, reference.as_raw());
        assert_eq!((world.table.len(), world.slow_paths.get()), (3, 2));
    }

    #[test]
    fn immediates_are_passed_over() {
        let code = inserting(References::new(&*isa()).with_immediate_bits(1));
        let world = World::new(1);
        let number = ptr::without_provenance_mut(2 * 21 + 1);
        assert_eq!(code.call(&world, number), number);
        assert_eq!(world.table.len(), 1);
        let reference = VMExternRef::new(7_u64);
        code.call(&world, reference.as_raw());
        assert_eq!((world.table.len(), reference.strong_count()), (2, 2));
    }

    #[test]
    #[should_panic(expected = "references have these bits too")]
    fn bits_of_references_mark_no_immediates() {
        let above = Offsets::HOST.immediate_bits() + 1;
        let _ = References::new(&*isa()).with_immediate_bits(above);
    }

    #[test]
    fn an_owned_reference_is_inserted_with_its_count() {
        let references = References::new(&*isa());
        let code = Compiled::new(|builder, [world, reference], [insert, _]| {
            let insertion = references.insert_owned(builder, world, 0, reference);
            call(builder, &insert, &[world, reference]);
            insertion.finish(builder)
        });
        let world = World::new(1);
        let reference = VMExternRef::new(7_u64);
        code.call(&world, reference.clone().into_raw());
        assert_eq!((world.table.len(), reference.strong_count()), (2, 2));
    }

    /// Tells the world that it was dropped.
    struct Dropped(Rc<Cell<bool>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_replaced_reference_dies_after_the_store() {
        let references = References::new(&*isa());
        let code = Compiled::new(|builder, [world, reference], [_, destroy]| {
            let pointer = builder.func.dfg.value_type(world);
            let element = i64::try_from(ELEMENT).expect("small");
            let element = builder.ins().iadd_imm_u(world, element);
            let flags = MemFlagsData::trusted();
            let release = references.replace(builder, reference, element, flags);
            call(builder, &destroy, &[world, release.dead()]);
            release.finish(builder);
            builder.ins().load(pointer, flags, element, 0)
        });
        let world = World::new(1);
        let dropped = Rc::new(Cell::new(false));
        let first = VMExternRef::new(Dropped(Rc::clone(&dropped)));
        assert_eq!(code.call(&world, first.as_raw()), first.as_raw());
        assert_eq!(first.strong_count(), 2, "the element's, and ours");
        drop(first);
        assert!(!dropped.get());

        let second = VMExternRef::new(2_u64);
        code.call(&world, second.as_raw());
        assert!(dropped.get());
        assert_eq!(world.seen.get(), Some(second.as_raw()));
        code.call(&world, second.as_raw());
        assert_eq!(second.strong_count(), 2, "stored over itself");
        code.call(&world, ptr::null_mut());
        assert_eq!(second.strong_count(), 1);
    }

    #[test]
    fn counts_go_up_and_down() {
        let references = References::new(&*isa());
        let up = Compiled::new(|builder, [_, reference], _| {
            references.increment(builder, reference);
            reference
        });
        let down = Compiled::new(|builder, [world, reference], [_, destroy]| {
            let release = references.decrement(builder, reference);
            call(builder, &destroy, &[world, release.dead()]);
            release.finish(builder);
            reference
        });
        let world = World::new(1);
        let dropped = Rc::new(Cell::new(false));
        let reference = VMExternRef::new(Dropped(Rc::clone(&dropped)));
        up.call(&world, reference.as_raw());
        assert_eq!(reference.strong_count(), 2);
        down.call(&world, reference.as_raw());
        assert_eq!(reference.strong_count(), 1);
        assert!(!dropped.get() && world.seen.get().is_none());
        down.call(&world, reference.into_raw());
        assert!(dropped.get());
        up.call(&world, ptr::null_mut());
        down.call(&world, ptr::null_mut());
    }
}
