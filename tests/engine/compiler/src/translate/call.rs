//! Calls: direct, to imports, through tables, and in tail position.

use crate::emit::{Symbol, array_offset};
use crate::error::CompileError;
use crate::translate::translator::Translator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{FuncRef, Inst, InstBuilder, SigRef, Value, types};
use vmexternref_engine_abi::{FuncType, TrapCode, ValType};

/// The target of a call.
enum Callee {
    /// A function of this module.
    Direct(FuncRef),
    /// Code at an address: an import or a function reference.
    Indirect { code: Value, vmctx: Value },
}

impl Translator<'_, '_> {
    /// `call`
    pub(crate) fn call(&mut self, function: u32) -> Result<(), CompileError> {
        let ty = self.emit.env.metadata.function_type(function)?;
        let callee = self.function(function, ty)?;
        self.finish_call(&callee, ty)
    }

    /// `return_call`
    pub(crate) fn return_call(&mut self, function: u32) -> Result<(), CompileError> {
        let ty = self.emit.env.metadata.function_type(function)?;
        let callee = self.function(function, ty)?;
        self.finish_return_call(&callee, ty)
    }

    /// `call_indirect`
    pub(crate) fn call_indirect(&mut self, ty: u32, table: u32) -> Result<(), CompileError> {
        let callee = self.checked_element(ty, table);
        self.finish_call(&callee, ty)
    }

    /// `return_call_indirect`
    pub(crate) fn return_call_indirect(&mut self, ty: u32, table: u32) -> Result<(), CompileError> {
        let callee = self.checked_element(ty, table);
        self.finish_return_call(&callee, ty)
    }

    fn function(&mut self, function: u32, ty: u32) -> Result<Callee, CompileError> {
        let env = self.emit.env;
        if let Some(index) = function.checked_sub(env.metadata.imported_functions) {
            let ty = env.metadata.ty(ty)?;
            let callee = self
                .emit
                .callee(Symbol::Function(index), || env.wasm_signature(ty));
            return Ok(Callee::Direct(callee));
        }
        let import = array_offset(function, env.vm.func_import_size());
        let imports = self.emit.fixed(self.vmctx, env.vm.context_imports());
        let code = import + i32::from(env.vm.func_import_wasm_call());
        let vmctx = import + i32::from(env.vm.func_import_vmctx());
        Ok(Callee::Indirect {
            code: self.emit.fixed(imports, code),
            vmctx: self.emit.fixed(imports, vmctx),
        })
    }

    /// The element at the index on the stack. Traps unless it exists, is not null, and has that
    /// type.
    fn checked_element(&mut self, ty: u32, table: u32) -> Callee {
        let index = self.pop();
        let address = self.element_address(table, index, TrapCode::UndefinedElement);
        let (pointer, elements) = (self.emit.env.pointer, self.emit.access.elements);
        let reference = self.ins().load(pointer, elements, address, 0);
        self.trap_unless(reference, TrapCode::UninitializedElement);

        let vm = self.emit.env.vm;
        let flags = self.emit.access.runtime;
        let type_ids = self.emit.fixed(self.vmctx, vm.context_type_ids());
        let fixed = self.emit.access.fixed;
        let expected_at = array_offset(ty, vm.type_id_size());
        let expected = self.ins().load(types::I32, fixed, type_ids, expected_at);
        let offset = i32::from(vm.func_ref_type_id());
        let actual = self.ins().load(types::I32, flags, reference, offset);
        let differs = self.ins().icmp(IntCC::NotEqual, expected, actual);
        self.trap_if(differs, TrapCode::IndirectCallTypeMismatch);

        let code = i32::from(vm.func_ref_wasm_call());
        let vmctx = i32::from(vm.func_ref_vmctx());
        Callee::Indirect {
            code: self.ins().load(pointer, flags, reference, code),
            vmctx: self.ins().load(pointer, flags, reference, vmctx),
        }
    }

    fn args(&mut self, callee: &Callee, params: &[ValType]) -> Vec<Value> {
        let vmctx = match callee {
            Callee::Direct(_) => self.vmctx,
            Callee::Indirect { vmctx, .. } => *vmctx,
        };
        let mut args = vec![vmctx, self.vmctx];
        args.extend(self.pop_many(params.len()));
        args
    }

    fn finish_call(&mut self, callee: &Callee, index: u32) -> Result<(), CompileError> {
        let ty = self.emit.env.metadata.ty(index)?;
        let args = self.args(callee, &ty.params);
        let call: Inst = match *callee {
            Callee::Direct(function) => self.ins().call(function, &args),
            Callee::Indirect { code, .. } => {
                let signature = self.signature(index, ty);
                self.ins().call_indirect(signature, code, &args)
            }
        };
        let results = self.emit.builder.inst_results(call).to_vec();
        for (result, ty) in results.into_iter().zip(&ty.results) {
            self.push_typed(result, *ty);
        }
        Ok(())
    }

    fn finish_return_call(&mut self, callee: &Callee, index: u32) -> Result<(), CompileError> {
        let ty = self.emit.env.metadata.ty(index)?;
        let args = self.args(callee, &ty.params);
        match *callee {
            Callee::Direct(function) => self.ins().return_call(function, &args),
            Callee::Indirect { code, .. } => {
                let signature = self.signature(index, ty);
                self.ins().return_call_indirect(signature, code, &args)
            }
        };
        self.leave();
        Ok(())
    }

    /// The signature of functions of `ty`, the type of that index.
    fn signature(&mut self, index: u32, ty: &FuncType) -> SigRef {
        let emit = &mut self.emit;
        *self.signatures.entry(index).or_insert_with(|| {
            let signature = emit.env.wasm_signature(ty);
            emit.builder.import_signature(signature)
        })
    }
}
