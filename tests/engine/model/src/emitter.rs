//! Writes the modules of a program.

use crate::program::{ELEMENTS, GLOBALS, MOST_ELEMENTS, Op, Program, Signature, TABLES, Type};
use core::ops::Range;
use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, FunctionSection, GlobalSection, GlobalType, HeapType, ImportSection,
    InstructionSink, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

/// The functions of the host: module, name, parameters, results.
const HOST: [(&str, &str, &[ValType], &[ValType]); 7] = [
    ("model", "new", &[], &[ValType::EXTERNREF]),
    ("model", "see", &[ValType::EXTERNREF], &[]),
    ("model", "see_num", &[ValType::I32], &[]),
    ("model", "collect", &[], &[]),
    (
        "host",
        "same",
        &[ValType::EXTERNREF, ValType::EXTERNREF],
        &[ValType::I32],
    ),
    (
        "model",
        "call_with",
        &[ValType::EXTERNREF, ValType::EXTERNREF, ValType::FUNCREF],
        &[ValType::EXTERNREF],
    ),
    ("host", "try_call", &[ValType::FUNCREF], &[ValType::I32]),
];
const NEW: u32 = 0;
const SEE: u32 = 1;
const SEE_NUM: u32 = 2;
const COLLECT: u32 = 3;
const SAME: u32 = 4;
const CALL_WITH: u32 = 5;
const TRY_CALL: u32 = 6;

/// The first function of the program; their indices are the same in all modules.
const FIRST: u32 = TRY_CALL + 1;

/// The table of all functions, behind those of references.
const FUNCTIONS: u32 = TABLES;

/// The name of the module of that index.
pub(crate) fn module_name(module: usize) -> String {
    format!("m{module}")
}

/// The name of the last function of each module: that of the last module runs.
pub(crate) const MAIN: &str = "main";

/// The name of the function of that index.
fn function_name(function: usize) -> String {
    format!("f{function}")
}

/// The modules, in the order in which to make instances of them.
pub(crate) fn emit(program: &Program) -> Vec<Vec<u8>> {
    (0..program.modules())
        .map(|module| Emitter::module(program, module))
        .collect()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).expect("programs are small")
}

fn val_type(ty: Type) -> ValType {
    match ty {
        Type::Num => ValType::I32,
        Type::Ref => ValType::EXTERNREF,
    }
}

fn val_types(types: &[Type]) -> Vec<ValType> {
    types.iter().copied().map(val_type).collect()
}

/// The types of a module so far.
struct Emitter<'p> {
    program: &'p Program,
    types: Vec<(Vec<ValType>, Vec<ValType>)>,
}

impl<'p> Emitter<'p> {
    fn module(program: &'p Program, module: usize) -> Vec<u8> {
        let mut emitter = Self {
            program,
            types: Vec::new(),
        };
        let first = program
            .functions
            .partition_point(|function| function.module < module);
        let end = program
            .functions
            .partition_point(|function| function.module <= module);
        let imports = emitter.imports(first, module);
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        for function in &program.functions[first..end] {
            functions.function(emitter.signature(&function.signature));
            let params = function.signature.params.len();
            let locals = val_types(&function.locals[params..]);
            let mut body = wasm_encoder::Function::new_with_locals_types(locals);
            emitter.ops(&mut body.instructions(), &function.body);
            body.instructions().end();
            code.function(&body);
        }
        let mut types = TypeSection::new();
        for (params, results) in &emitter.types {
            types
                .ty()
                .function(params.iter().copied(), results.iter().copied());
        }
        let mut encoded = Module::new();
        encoded
            .section(&types)
            .section(&imports)
            .section(&functions);
        if module == 0 {
            encoded.section(&tables(program)).section(&globals());
        }
        encoded
            .section(&exports(first..end, module))
            .section(&elements(first..end));
        encoded.section(&code);
        encoded.finish()
    }

    fn ty(&mut self, params: Vec<ValType>, results: Vec<ValType>) -> u32 {
        let ty = (params, results);
        let known = self.types.iter().position(|other| *other == ty);
        small(known.unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        }))
    }

    fn signature(&mut self, signature: &Signature) -> u32 {
        self.ty(val_types(&signature.params), val_types(&signature.results))
    }

    fn function_type(&mut self, function: usize) -> u32 {
        let program = self.program;
        self.signature(&program.functions[function].signature)
    }

    fn imports(&mut self, functions: usize, module: usize) -> ImportSection {
        let mut imports = ImportSection::new();
        for (from, name, params, results) in HOST {
            let ty = self.ty(params.to_vec(), results.to_vec());
            imports.import(from, name, EntityType::Function(ty));
        }
        for function in 0..functions {
            let from = module_name(self.program.functions[function].module);
            let ty = self.function_type(function);
            imports.import(&from, &function_name(function), EntityType::Function(ty));
        }
        if module > 0 {
            let from = module_name(0);
            for (index, ty) in (0..).zip(table_types(self.program)) {
                imports.import(&from, &format!("t{index}"), ty);
            }
            for index in 0..GLOBALS {
                imports.import(&from, &format!("g{index}"), GLOBAL);
            }
        }
        imports
    }

    fn ops(&mut self, sink: &mut InstructionSink<'_>, ops: &[Op]) {
        for op in ops {
            self.op(sink, op);
        }
    }

    fn op(&mut self, sink: &mut InstructionSink<'_>, op: &Op) {
        match *op {
            Op::Null => sink.ref_null(HeapType::EXTERN),
            Op::Num(number) => sink.i32_const(number),
            Op::New => sink.call(NEW),
            Op::See => sink.call(SEE),
            Op::SeeNum => sink.call(SEE_NUM),
            Op::Collect => sink.call(COLLECT),
            Op::Get(local) => sink.local_get(local),
            Op::Set(local) => sink.local_set(local),
            Op::Tee(local) => sink.local_tee(local),
            Op::GlobalGet(global) => sink.global_get(global),
            Op::GlobalSet(global) => sink.global_set(global),
            Op::TableGet(table) => sink.table_get(table),
            Op::TableSet(table) => sink.table_set(table),
            Op::TableGrow(table) => sink.table_grow(table),
            Op::TableFill(table) => sink.table_fill(table),
            Op::TableCopy(to, from) => sink.table_copy(to, from),
            Op::Drop => sink.drop(),
            Op::IsNull => sink.ref_is_null(),
            Op::Same => sink.call(SAME),
            Op::Select(ty) => sink.typed_select(val_type(ty)),
            Op::Br(depth) => sink.br(depth),
            Op::BrIf(depth) => sink.br_if(depth),
            Op::BrTable(ref depths, default) => sink.br_table(depths.iter().copied(), default),
            Op::Return => sink.return_(),
            Op::Unreachable => sink.unreachable(),
            _ => {
                self.calls_and_blocks(sink, op);
                sink
            }
        };
    }

    fn calls_and_blocks(&mut self, sink: &mut InstructionSink<'_>, op: &Op) {
        match op {
            Op::Call(function) => {
                sink.call(FIRST + small(*function));
            }
            Op::ReturnCall(function) => {
                sink.return_call(FIRST + small(*function));
            }
            Op::CallIndirect(like) => {
                sink.call_indirect(FUNCTIONS, self.function_type(*like));
            }
            Op::ReturnCallIndirect(like) => {
                sink.return_call_indirect(FUNCTIONS, self.function_type(*like));
            }
            Op::CallWith(function) => {
                sink.ref_func(FIRST + small(*function)).call(CALL_WITH);
            }
            Op::Try(function) => {
                sink.ref_func(FIRST + small(*function)).call(TRY_CALL);
            }
            Op::Block(signature, body) => {
                sink.block(BlockType::FunctionType(self.signature(signature)));
                self.ops(sink, body);
                sink.end();
            }
            Op::If(signature, then, otherwise) => {
                sink.if_(BlockType::FunctionType(self.signature(signature)));
                self.ops(sink, then);
                sink.else_();
                self.ops(sink, otherwise);
                sink.end();
            }
            Op::Loop(repeat, signature, body) => {
                sink.i32_const(repeat.times).local_set(repeat.counter);
                sink.loop_(BlockType::FunctionType(self.signature(signature)));
                self.ops(sink, body);
                sink.local_get(repeat.counter).i32_const(-1).i32_add();
                sink.local_tee(repeat.counter).br_if(0).end();
            }
            _ => unreachable!("the other instructions are one of Wasm"),
        }
    }
}

const GLOBAL: GlobalType = GlobalType {
    val_type: ValType::EXTERNREF,
    mutable: true,
    shared: false,
};

fn globals() -> GlobalSection {
    let mut globals = GlobalSection::new();
    for _ in 0..GLOBALS {
        globals.global(GLOBAL, &ConstExpr::ref_null(HeapType::EXTERN));
    }
    globals
}

/// The tables of references, and behind them that of all functions and of one null.
fn table_types(program: &Program) -> Vec<TableType> {
    let table = |element_type, minimum, maximum| TableType {
        element_type,
        table64: false,
        minimum,
        maximum,
        shared: false,
    };
    let most = Some(MOST_ELEMENTS.into());
    let mut types = vec![table(RefType::EXTERNREF, ELEMENTS.into(), most); TABLES as usize];
    types.push(table(
        RefType::FUNCREF,
        program.functions.len() as u64 + 1,
        None,
    ));
    types
}

fn tables(program: &Program) -> TableSection {
    let mut tables = TableSection::new();
    for ty in table_types(program) {
        tables.table(ty);
    }
    tables
}

/// What later modules and the host look up.
fn exports(functions: Range<usize>, module: usize) -> ExportSection {
    let mut exports = ExportSection::new();
    exports.export(MAIN, ExportKind::Func, FIRST + small(functions.end - 1));
    for function in functions {
        let name = function_name(function);
        exports.export(&name, ExportKind::Func, FIRST + small(function));
    }
    if module == 0 {
        for index in 0..=FUNCTIONS {
            exports.export(&format!("t{index}"), ExportKind::Table, index);
        }
        for index in 0..GLOBALS {
            exports.export(&format!("g{index}"), ExportKind::Global, index);
        }
    }
    exports
}

/// Puts the module's functions into the table, and declares that it refers to those of others.
fn elements(functions: Range<usize>) -> ElementSection {
    let mut elements = ElementSection::new();
    let others: Vec<u32> = (0..functions.start)
        .map(|function| FIRST + small(function))
        .collect();
    let offset = ConstExpr::i32_const(small(functions.start).cast_signed());
    let own: Vec<u32> = functions.map(|function| FIRST + small(function)).collect();
    elements.declared(Elements::Functions(others.into()));
    elements.active(Some(FUNCTIONS), &offset, Elements::Functions(own.into()));
    elements
}
