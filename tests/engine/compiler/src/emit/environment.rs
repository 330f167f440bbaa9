//! The environment of every function of a module.

use crate::wasm::Metadata;
use cranelift_codegen::ir::{AbiParam, Endianness, Signature, Type, types};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use vmexternref_engine_abi::{
    Architecture, Builtin, BuiltinType, FuncType, HostCall, VMOffsets, ValType,
};

/// The machine, the module and the layout of the runtime's structures.
pub(crate) struct Environment<'m> {
    /// The code generator.
    pub(crate) isa: &'m dyn TargetIsa,
    /// The module's description and function bodies.
    pub(crate) metadata: &'m Metadata<'m>,
    /// An integer as wide as an address, and as a reference.
    pub(crate) pointer: Type,
    /// Offsets in the runtime's structures.
    pub(crate) vm: VMOffsets,
    /// Whether the code collects at every safepoint.
    pub(crate) zeal: bool,
    /// Whether the code is bytecode, whose interpreter guards its stack and knows its registers.
    pub(crate) interpreted: bool,
}

impl<'m> Environment<'m> {
    /// The environment for functions of this module on this machine.
    pub(crate) fn new(isa: &'m dyn TargetIsa, metadata: &'m Metadata<'m>) -> Self {
        let bytes = isa.pointer_bytes();
        Self {
            isa,
            metadata,
            pointer: isa.pointer_type(),
            vm: VMOffsets::new(bytes),
            zeal: metadata.module.zeal,
            interpreted: metadata.module.target.architecture == Architecture::Pulley,
        }
    }

    /// The machine's type for values of a Wasm type.
    pub(crate) fn value_type(&self, ty: ValType) -> Type {
        match ty {
            ValType::I32 => types::I32,
            ValType::I64 => types::I64,
            ValType::F32 => types::F32,
            ValType::F64 => types::F64,
            ValType::FuncRef | ValType::ExternRef => self.pointer,
        }
    }

    /// Where a value of this type lies in the eight bytes that trampolines and globals have for it.
    ///
    /// Rust reads and writes these bytes as one number, whose low part lies last on a big-endian
    /// machine.
    pub(crate) fn offset_in_slot(&self, ty: Type) -> i32 {
        match self.isa.endianness() {
            Endianness::Little => 0,
            Endianness::Big => (u32::from(VMOffsets::VALUE_SIZE) - ty.bytes()).cast_signed(),
        }
    }

    /// The signature of functions of a Wasm type: `(callee vmctx, caller vmctx, parameters…)`.
    pub(crate) fn wasm_signature(&self, ty: &FuncType) -> Signature {
        let mut signature = Signature::new(CallConv::Tail);
        let pointer = AbiParam::new(self.pointer);
        let values = |list: &[ValType]| -> Vec<AbiParam> {
            list.iter()
                .map(|ty| AbiParam::new(self.value_type(*ty)))
                .collect()
        };
        signature.params.extend([pointer, pointer]);
        signature.params.extend(values(&ty.params));
        signature.returns.extend(values(&ty.results));
        signature
    }

    /// The signature of a builtin's trampoline: `(vmctx, parameters…)`.
    pub(crate) fn builtin_signature(&self, builtin: Builtin) -> Signature {
        self.signature_of_builtin(builtin, CallConv::Tail)
    }

    /// The signature of the runtime's function for a builtin.
    pub(crate) fn host_builtin_signature(&self, builtin: Builtin) -> Signature {
        self.signature_of_builtin(builtin, self.isa.default_call_conv())
    }

    fn signature_of_builtin(&self, builtin: Builtin, convention: CallConv) -> Signature {
        let mut signature = Signature::new(convention);
        let abi = |ty: BuiltinType| match ty {
            BuiltinType::I32 => self.host_i32(),
            BuiltinType::Ref => AbiParam::new(self.pointer),
        };
        signature.params.push(AbiParam::new(self.pointer));
        signature
            .params
            .extend(builtin.params().iter().copied().map(abi));
        signature.returns.extend(builtin.result().map(abi));
        signature
    }

    /// The signature of an entry trampoline: `(callee vmctx, caller vmctx, code, values) ->
    /// trapped`.
    pub(crate) fn entry_signature(&self) -> Signature {
        self.host_signature(4)
    }

    /// The signature of a host function: `(host context, caller vmctx, values) -> trapped`.
    pub(crate) fn host_call_signature(&self) -> Signature {
        self.host_signature(3)
    }

    /// The signature of a call of the host by bytecode.
    pub(crate) fn bytecode_call_signature(&self, call: HostCall) -> Signature {
        match call {
            HostCall::Builtin(builtin) => self.host_builtin_signature(builtin),
            HostCall::Function => Signature {
                returns: Vec::new(),
                ..self.host_call_signature()
            },
        }
    }

    fn host_signature(&self, pointers: usize) -> Signature {
        let mut signature = Signature::new(self.isa.default_call_conv());
        let pointer = AbiParam::new(self.pointer);
        signature.params.resize(pointers, pointer);
        signature.returns.push(self.host_i32());
        signature
    }

    /// Some C conventions (riscv64's) expect narrow integers extended to a register.
    fn host_i32(&self) -> AbiParam {
        AbiParam {
            extension: self.isa.default_argument_extension(),
            ..AbiParam::new(types::I32)
        }
    }
}
