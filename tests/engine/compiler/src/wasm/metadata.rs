//! The description of a module, for the runtime and for the translation of its functions.

use crate::error::CompileError;
use crate::wasm::validate::SUPPORTED;
use vmexternref_engine_abi::{
    CompiledModule, ConstExpr, DataSegment, ElementSegment, Export, ExportItem, ExternType,
    FuncType, GlobalDefinition, GlobalType, Import, MemoryType, SegmentMode, TableType, Target,
    ValType,
};
use wasmparser::{
    CompositeInnerType, CustomSectionReader, ElementItems, ElementKind, ExternalKind, FunctionBody,
    KnownCustom, Name, Operator, Parser, Payload, RefType, SubType, TypeRef,
};

/// A parsed module: its description, without code, and its function bodies.
pub(crate) struct Metadata<'w> {
    /// The description, to which the compiler adds the code.
    pub(crate) module: CompiledModule,
    /// The bodies of the defined functions.
    pub(crate) bodies: Vec<FunctionBody<'w>>,
    /// All tables, the imported ones first.
    pub(crate) tables: Vec<TableType>,
    /// All globals, the imported ones first.
    pub(crate) globals: Vec<GlobalType>,
    /// The number of imported functions.
    pub(crate) imported_functions: u32,
}

/// Reads a valid module.
pub(crate) fn read(wasm: &[u8], target: Target, zeal: bool) -> Result<Metadata<'_>, CompileError> {
    let mut metadata = Metadata {
        module: CompiledModule::new(target, zeal),
        bodies: Vec::new(),
        tables: Vec::new(),
        globals: Vec::new(),
        imported_functions: 0,
    };
    let mut parser = Parser::new(0);
    parser.set_features(SUPPORTED);
    for payload in parser.parse_all(wasm) {
        metadata.payload(payload?)?;
    }
    Ok(metadata)
}

impl<'w> Metadata<'w> {
    fn payload(&mut self, payload: Payload<'w>) -> Result<(), CompileError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        self.module.types.push(func_type(&ty)?);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(import?)?;
                }
            }
            Payload::FunctionSection(section) => {
                for index in section {
                    self.module.function_types.push(index?);
                }
            }
            Payload::StartSection { func, .. } => self.module.start = Some(func),
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => self.names(&section),
            other => self.items(other)?,
        }
        Ok(())
    }

    /// Takes the names of functions as far as they are readable: they change no code.
    fn names(&mut self, section: &CustomSectionReader<'_>) {
        let KnownCustom::Name(section) = section.as_known() else {
            return;
        };
        for subsection in section.flatten() {
            if let Name::Function(names) = subsection {
                let names = names.into_iter().flatten();
                let names = names.map(|naming| (naming.index, naming.name.to_owned()));
                self.module.origin.names.extend(names);
            }
        }
        self.module.origin.names.sort_by_key(|&(index, _)| index);
    }

    fn items(&mut self, payload: Payload<'w>) -> Result<(), CompileError> {
        match payload {
            Payload::TableSection(section) => {
                for table in section {
                    let ty = table_type(table?.ty)?;
                    self.tables.push(ty);
                    self.module.tables.push(ty);
                }
            }
            Payload::MemorySection(section) => {
                for ty in section {
                    self.module.memories.push(memory_type(ty?)?);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    let ty = global_type(global.ty)?;
                    let init = const_expr(&global.init_expr)?;
                    self.globals.push(ty);
                    self.module.globals.push(GlobalDefinition { ty, init });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.module.exports.push(exported(export?)?);
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    self.module.elements.push(element_segment(element?)?);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.module.data.push(data_segment(data?)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) -> Result<(), CompileError> {
        let ty = match import.ty {
            TypeRef::Func(index) => {
                self.module.function_types.push(index);
                self.imported_functions += 1;
                ExternType::Func(self.ty(index)?.clone())
            }
            TypeRef::Table(ty) => {
                let ty = table_type(ty)?;
                self.tables.push(ty);
                ExternType::Table(ty)
            }
            TypeRef::Memory(ty) => ExternType::Memory(memory_type(ty)?),
            TypeRef::Global(ty) => {
                let ty = global_type(ty)?;
                self.globals.push(ty);
                ExternType::Global(ty)
            }
            TypeRef::Tag(_) | TypeRef::FuncExact(_) => return Err(unexpected("import")),
        };
        self.module.imports.push(Import {
            module: import.module.into(),
            name: import.name.into(),
            ty,
        });
        Ok(())
    }

    /// The type indices of the imported functions, and of the defined ones.
    pub(crate) fn functions(&self) -> (&[u32], &[u32]) {
        let imported = self.imported_functions as usize;
        self.module.function_types.split_at(imported)
    }

    /// The function type of that index.
    pub(crate) fn ty(&self, index: u32) -> Result<&FuncType, CompileError> {
        item(&self.module.types, index)
    }

    /// The type index of a function.
    pub(crate) fn function_type(&self, function: u32) -> Result<u32, CompileError> {
        item(&self.module.function_types, function).copied()
    }
}

/// The item of that index. In a valid module it exists.
pub(crate) fn item<T>(items: &[T], index: u32) -> Result<&T, CompileError> {
    items
        .get(index as usize)
        .ok_or_else(|| unexpected("index out of range"))
}

/// The error for a construct that validation should have refused.
pub(crate) fn unexpected(what: &str) -> CompileError {
    CompileError::Unsupported(format!("{what} after validation"))
}

fn func_type(ty: &SubType) -> Result<FuncType, CompileError> {
    let CompositeInnerType::Func(ty) = &ty.composite_type.inner else {
        return Err(unexpected("aggregate type"));
    };
    let list = |types: &[wasmparser::ValType]| -> Result<Vec<ValType>, CompileError> {
        types.iter().copied().map(val_type).collect()
    };
    Ok(FuncType::new(list(ty.params())?, list(ty.results())?))
}

/// The engine's value type.
pub(crate) fn val_type(ty: wasmparser::ValType) -> Result<ValType, CompileError> {
    match ty {
        wasmparser::ValType::I32 => Ok(ValType::I32),
        wasmparser::ValType::I64 => Ok(ValType::I64),
        wasmparser::ValType::F32 => Ok(ValType::F32),
        wasmparser::ValType::F64 => Ok(ValType::F64),
        wasmparser::ValType::Ref(ty) => ref_type(ty),
        wasmparser::ValType::V128 => Err(unexpected("vector type")),
    }
}

fn ref_type(ty: RefType) -> Result<ValType, CompileError> {
    if ty == RefType::FUNCREF {
        Ok(ValType::FuncRef)
    } else if ty == RefType::EXTERNREF {
        Ok(ValType::ExternRef)
    } else {
        Err(unexpected("reference type"))
    }
}

fn narrow(size: u64) -> Result<u32, CompileError> {
    u32::try_from(size).map_err(|_| unexpected("64-bit size"))
}

fn table_type(ty: wasmparser::TableType) -> Result<TableType, CompileError> {
    Ok(TableType {
        element: ref_type(ty.element_type)?,
        minimum: narrow(ty.initial)?,
        maximum: ty.maximum.map(narrow).transpose()?,
    })
}

fn memory_type(ty: wasmparser::MemoryType) -> Result<MemoryType, CompileError> {
    Ok(MemoryType {
        minimum: narrow(ty.initial)?,
        maximum: ty.maximum.map(narrow).transpose()?,
    })
}

fn global_type(ty: wasmparser::GlobalType) -> Result<GlobalType, CompileError> {
    Ok(GlobalType {
        value: val_type(ty.content_type)?,
        mutable: ty.mutable,
    })
}

fn exported(export: wasmparser::Export<'_>) -> Result<Export, CompileError> {
    let item = match export.kind {
        ExternalKind::Func => ExportItem::Func(export.index),
        ExternalKind::Table => ExportItem::Table(export.index),
        ExternalKind::Memory => ExportItem::Memory(export.index),
        ExternalKind::Global => ExportItem::Global(export.index),
        ExternalKind::Tag | ExternalKind::FuncExact => return Err(unexpected("export")),
    };
    Ok(Export {
        name: export.name.into(),
        item,
    })
}

fn const_expr(expr: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr, CompileError> {
    Ok(match expr.get_operators_reader().read()? {
        Operator::I32Const { value } => ConstExpr::I32Const(value),
        Operator::I64Const { value } => ConstExpr::I64Const(value),
        Operator::F32Const { value } => ConstExpr::F32Const(value.bits()),
        Operator::F64Const { value } => ConstExpr::F64Const(value.bits()),
        Operator::RefNull { hty } => {
            let ty = RefType::new(true, hty).ok_or_else(|| unexpected("heap type"))?;
            ConstExpr::RefNull(ref_type(ty)?)
        }
        Operator::RefFunc { function_index } => ConstExpr::RefFunc(function_index),
        Operator::GlobalGet { global_index } => ConstExpr::GlobalGet(global_index),
        _ => return Err(unexpected("constant expression")),
    })
}

fn element_segment(element: wasmparser::Element<'_>) -> Result<ElementSegment, CompileError> {
    let mode = match element.kind {
        ElementKind::Passive => SegmentMode::Passive,
        ElementKind::Declared => SegmentMode::Declared,
        ElementKind::Active {
            table_index,
            offset_expr,
        } => SegmentMode::Active {
            index: table_index.unwrap_or(0),
            offset: const_expr(&offset_expr)?,
        },
    };
    let (ty, items) = match element.items {
        ElementItems::Functions(functions) => {
            let items = functions
                .into_iter()
                .map(|index| Ok(ConstExpr::RefFunc(index?)))
                .collect::<Result<_, CompileError>>()?;
            (ValType::FuncRef, items)
        }
        ElementItems::Expressions(ty, expressions) => {
            let items = expressions
                .into_iter()
                .map(|expression| const_expr(&expression?))
                .collect::<Result<_, CompileError>>()?;
            (ref_type(ty)?, items)
        }
    };
    Ok(ElementSegment { mode, ty, items })
}

fn data_segment(data: wasmparser::Data<'_>) -> Result<DataSegment, CompileError> {
    let mode = match data.kind {
        wasmparser::DataKind::Passive => SegmentMode::Passive,
        wasmparser::DataKind::Active {
            memory_index,
            offset_expr,
        } => SegmentMode::Active {
            index: memory_index,
            offset: const_expr(&offset_expr)?,
        },
    };
    Ok(DataSegment {
        mode,
        bytes: data.data.to_vec(),
    })
}
