//! Stack maps, as a `.wasmtime.stackmap` section.

use crate::error::CompileError;
use cranelift_codegen::CompiledCode;
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, Object as _, ObjectSection};
use wasmtime_environ::StackMapSection;
use wasmtime_environ::obj::ELF_WASMTIME_STACK_MAP;

/// Collects the safepoints of a text.
#[derive(Default)]
pub(crate) struct StackMaps {
    section: StackMapSection,
}

impl StackMaps {
    /// Adds the safepoints of `code`, which follows all earlier code and starts at `start`.
    pub(crate) fn append(&mut self, start: u32, code: &CompiledCode) {
        for (offset, frame_bytes, map) in code.buffer.user_stack_maps() {
            let references = map.entries().map(|(_, offset)| offset).collect();
            self.push(start + offset, *frame_bytes, references);
        }
    }

    fn push(&mut self, return_offset: u32, frame_bytes: u32, references: Vec<u32>) {
        self.section
            .push(return_offset.into(), frame_bytes, references.into_iter());
    }

    /// The bytes of the section; empty if no reference is live at any call.
    ///
    /// `wasmtime-environ` writes the section only into an object file, so this writes one and reads
    /// it back.
    pub(crate) fn finish(self) -> Result<Vec<u8>, CompileError> {
        // Any machine will do: the section is the same for each.
        let (elf, machine) = (BinaryFormat::Elf, Architecture::X86_64);
        let mut object = Object::new(elf, machine, Endianness::Little);
        self.section.append_to(&mut object);
        let file = object.write().map_err(CompileError::backend)?;
        let file = object::File::parse(&*file).map_err(CompileError::backend)?;
        let Some(section) = file.section_by_name(ELF_WASMTIME_STACK_MAP) else {
            return Ok(Vec::new());
        };
        let bytes = section.data().map_err(CompileError::backend)?;
        Ok(bytes.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::StackMaps;
    use vmexternref_engine_abi::Safepoint;
    use wasmtime_environ::StackMap;

    #[test]
    fn the_reader_of_wasmtime_returns_what_was_pushed() {
        let pushed = [
            (0x10, 48, vec![0, 40]),
            (0x24, 16, vec![]),
            (0x31, 4096, vec![8, 1024, 4088]),
        ];
        let mut maps = StackMaps::default();
        for (return_offset, frame_bytes, references) in &pushed {
            maps.push(*return_offset, *frame_bytes, references.clone());
        }
        let section = maps.finish().unwrap();
        let read: Vec<_> = StackMap::iter(&section)
            .unwrap()
            .map(|(pc, map)| (pc, map.frame_size(), map.offsets().collect::<Vec<_>>()))
            .collect();
        let full = pushed
            .iter()
            .filter(|(.., references)| !references.is_empty());
        assert_eq!(read, full.cloned().collect::<Vec<_>>());
        for offset in 0..0x100 {
            let found = Safepoint::lookup(&section, offset)
                .map(|point| (point.return_offset, point.frame_bytes, point.references));
            let here = read.iter().find(|(pc, ..)| *pc == offset);
            assert_eq!(found.as_ref(), here, "{offset:#x}");
        }
    }

    #[test]
    fn without_references_there_is_no_section() {
        let mut maps = StackMaps::default();
        assert_eq!(StackMaps::default().finish().unwrap(), []);
        maps.push(0x10, 48, vec![]);
        assert_eq!(maps.finish().unwrap(), []);
    }
}
