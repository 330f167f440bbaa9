//! Deferred reference counting: insertions, and counts of stored references.

use crate::translate::ownership::Ownership;
use crate::translate::translator::Translator;
use cranelift_codegen::ir::{MemFlagsData, Value};
use vmexternref_engine_abi::Builtin;

impl Translator<'_, '_> {
    /// Inserts a reference into the activations table. A collection during the insertion keeps
    /// `kept` alive too.
    ///
    /// The stack maps know the returned value, but not the loaded word. While the runtime collects
    /// in order to insert that word, only the runtime's own clone keeps the object alive.
    pub(crate) fn insert_reference(
        &mut self,
        loaded: Value,
        ownership: Ownership,
        kept: Option<Value>,
    ) -> Value {
        let context = self.emit.store_context(self.vmctx);
        let table = i32::from(self.emit.env.vm.store_table());
        let (references, builder) = (self.emit.references, &mut self.emit.builder);
        let owned = ownership == Ownership::Owned;
        let insertion = if owned {
            references.insert_owned(builder, context, table, loaded)
        } else {
            references.insert(builder, context, table, loaded)
        };
        let kept = kept.unwrap_or_else(|| self.emit.address(0));
        let owned = self.emit.constant(u32::from(owned));
        self.call_builtin(Builtin::InsertRef, &[loaded, kept, owned]);
        insertion.finish(&mut self.emit.builder)
    }

    /// Adds a count to a reference, unless it is null or owns one.
    pub(crate) fn count(&mut self, reference: Value, ownership: Ownership) {
        if ownership != Ownership::Owned {
            let references = self.emit.references;
            references.increment(&mut self.emit.builder, reference);
        }
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
        self.count(new, ownership);
        let (references, builder) = (self.emit.references, &mut self.emit.builder);
        let release = references.replace_owned(builder, new, address, flags);
        self.call_builtin(Builtin::DropRef, &[release.dead()]);
        release.finish(&mut self.emit.builder);
    }
}
