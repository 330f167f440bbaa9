//! Instructions that both functions and trampolines use.

use crate::emit::access::{Access, spill_region};
use crate::emit::environment::Environment;
use crate::emit::symbol::Symbol;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, ExtFuncData, ExternalName, FuncRef, Function, Inst, InstBuilder, Signature, SourceLoc,
    TrapCode, Value, types,
};
use cranelift_frontend::{FuncInstBuilder, FunctionBuilder, FunctionBuilderContext};
use std::collections::HashMap;
use vmexternref::cranelift::References;
use vmexternref_engine_abi::{Builtin, HostCall};

/// Builds the body of one function or trampoline.
pub(crate) struct Emitter<'f, 'm> {
    /// The code generator's own builder.
    pub(crate) builder: FunctionBuilder<'f>,
    /// The environment of the body.
    pub(crate) env: &'m Environment<'m>,
    /// Flags for loads and stores.
    pub(crate) access: Access,
    /// What is done with references.
    pub(crate) references: References,
    callees: HashMap<Symbol, FuncRef>,
}

impl<'f, 'm> Emitter<'f, 'm> {
    /// Starts the body of `func`; the parameters are in the entry block.
    pub(crate) fn new(
        func: &'f mut Function,
        context: &'f mut FunctionBuilderContext,
        env: &'m Environment<'m>,
    ) -> Self {
        let access = Access::new(func);
        let references = References::new(env.isa)
            .with_access(access.references)
            .with_zeal(env.zeal);
        let mut builder = FunctionBuilder::new(func, context);
        builder
            .make_stack_map_alias_region(Box::new(|regions, _, _, _| Some(spill_region(regions))));
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        Self {
            builder,
            env,
            access,
            references,
            callees: HashMap::new(),
        }
    }

    /// The parameters. Valid only in the entry block.
    pub(crate) fn params(&self) -> Vec<Value> {
        let entry = self.builder.current_block();
        entry.map_or_else(Vec::new, |block| self.builder.block_params(block).to_vec())
    }

    /// Ends the body.
    pub(crate) fn finish(mut self) {
        self.builder.seal_all_blocks();
        let config = self.env.isa.frontend_config();
        self.builder.finalize(config);
    }

    /// Continues in a block that no more branches will lead to.
    pub(crate) fn continue_in(&mut self, block: Block) {
        self.builder.seal_block(block);
        self.builder.switch_to_block(block);
    }

    /// Says that what follows is from that offset in the Wasm binary, or from no single place.
    pub(crate) fn locate(&mut self, offset: Option<usize>) {
        let offset = offset.and_then(|offset| u32::try_from(offset).ok());
        let place = offset.map_or(SourceLoc::default(), SourceLoc::new);
        self.builder.set_srcloc(place);
    }

    /// Appends an instruction.
    pub(crate) fn ins(&mut self) -> FuncInstBuilder<'_, 'f> {
        self.builder.ins()
    }

    /// Loads a pointer that does not change while the instance lives.
    pub(crate) fn fixed(&mut self, base: Value, offset: impl Into<i32>) -> Value {
        let (pointer, flags) = (self.env.pointer, self.access.fixed);
        self.ins().load(pointer, flags, base, offset.into())
    }

    /// The store's context of an instance.
    pub(crate) fn store_context(&mut self, vmctx: Value) -> Value {
        let offset = self.env.vm.context_store();
        self.fixed(vmctx, offset)
    }

    /// Whether the stack would be below its limit with `more` bytes more on it.
    pub(crate) fn stack_exhausted(&mut self, vmctx: Value, more: u32) -> Value {
        let pointer = self.env.pointer;
        let (flags, offset) = (self.access.runtime, self.env.vm.store_stack_limit());
        let context = self.store_context(vmctx);
        let limit = self.ins().load(pointer, flags, context, i32::from(offset));
        let least = self.ins().iadd_imm_u(limit, i64::from(more));
        let stack = self.ins().get_stack_pointer(pointer);
        self.ins().icmp(IntCC::UnsignedLessThan, stack, least)
    }

    /// A constant as wide as an address.
    pub(crate) fn address(&mut self, value: i64) -> Value {
        let pointer = self.env.pointer;
        self.ins().iconst(pointer, value)
    }

    /// A 32-bit constant.
    pub(crate) fn constant(&mut self, value: u32) -> Value {
        self.ins().iconst(types::I32, i64::from(value))
    }

    /// Calls code of this module.
    pub(crate) fn call(
        &mut self,
        symbol: Symbol,
        signature: impl FnOnce() -> Signature,
        args: &[Value],
    ) -> Inst {
        let callee = self.callee(symbol, signature);
        self.ins().call(callee, args)
    }

    /// Calls a builtin through its trampoline; `args` start with the `vmctx`.
    pub(crate) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Inst {
        let env = self.env;
        self.call(
            Symbol::Builtin(builtin),
            || env.builtin_signature(builtin),
            args,
        )
    }

    /// Calls the host from bytecode.
    pub(crate) fn call_host(&mut self, call: HostCall, args: &[Value]) -> Inst {
        let env = self.env;
        self.call(
            Symbol::HostCall(call),
            || env.bytecode_call_signature(call),
            args,
        )
    }

    /// The reference that calls code of this module directly, or the host.
    pub(crate) fn callee(
        &mut self,
        symbol: Symbol,
        signature: impl FnOnce() -> Signature,
    ) -> FuncRef {
        if let Some(callee) = self.callees.get(&symbol) {
            return *callee;
        }
        let name = self
            .builder
            .func
            .declare_imported_user_function(symbol.external_name());
        let signature = self.builder.import_signature(signature());
        let callee = self.builder.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: !matches!(symbol, Symbol::HostCall(_)),
            patchable: false,
        });
        self.callees.insert(symbol, callee);
        callee
    }

    /// Ends a block that control never leaves.
    pub(crate) fn unreachable(&mut self) {
        self.ins().trap(TrapCode::unwrap_user(1));
    }
}

/// The offset of an item in an array.
pub(crate) fn array_offset(index: u32, item_bytes: u8) -> i32 {
    let offset = u64::from(index) * u64::from(item_bytes);
    i32::try_from(offset).expect("a valid module has at most a million items of a kind")
}
