//! Splits the guest in two: its code, importing a memory, and that memory as its data section
//! fills it.
//!
//! Wasmtime makes copy-on-write images of the memories that a module *defines*. With the code in
//! one module and the memory in another, the code is compiled once, and every heap image is a
//! module of data alone, compiled in milliseconds. ARCHITECTURE.md has the figures.

use crate::abi::{IMAGE_MODULE, exports};
use wasm_encoder::reencode::{Error as ReencodeError, Reencode, RoundtripReencoder};
use wasm_encoder::{
    DataSection, EntityType, ExportKind, ExportSection, ImportSection, MemorySection, MemoryType,
    Module, RawSection,
};
use wasmparser::{Parser, Payload};

/// The two halves, each a WebAssembly module.
#[derive(Clone, Debug)]
pub struct SplitGuest {
    /// All of the guest but its memory and data, importing the memory from
    /// [`IMAGE_MODULE`].
    pub code: Vec<u8>,
    /// The memory, filled with the guest's data and exported; nothing has run in it.
    pub initial_memory: Vec<u8>,
}

/// Why a guest cannot be split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// It is no valid module.
    #[error("the guest is not a valid module: {0}")]
    Malformed(String),
    /// It lacks what the split needs, or has what the split cannot carry over.
    #[error("the guest cannot be split: {0}")]
    Unsupported(&'static str),
}

impl SplitError {
    pub(crate) fn cut_off() -> Self {
        Self::Malformed("a section is cut off".to_owned())
    }
}

impl From<wasmparser::BinaryReaderError> for SplitError {
    fn from(error: wasmparser::BinaryReaderError) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl From<ReencodeError> for SplitError {
    fn from(error: ReencodeError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Splits a guest that defines one memory and fills it with active data segments.
///
/// # Errors
/// When the module is malformed, imports a memory, defines none or several, or has passive data.
pub fn split(wasm: &[u8]) -> Result<SplitGuest, SplitError> {
    let memory = memory_type(wasm)?;
    Ok(SplitGuest { code: code(wasm, memory)?, initial_memory: initial_memory(wasm, memory)? })
}

fn memory_type(wasm: &[u8]) -> Result<MemoryType, SplitError> {
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::MemorySection(section) = payload? {
            let memories = section.into_iter().collect::<Result<Vec<_>, _>>()?;
            return match memories[..] {
                [memory] => Ok(RoundtripReencoder.memory_type(memory)?),
                _ => Err(SplitError::Unsupported("it defines several memories")),
            };
        }
    }
    Err(SplitError::Unsupported("it defines no memory"))
}

fn code(wasm: &[u8], memory: MemoryType) -> Result<Vec<u8>, SplitError> {
    let mut encoder = RoundtripReencoder;
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(section) => {
                let mut imports = ImportSection::new();
                encoder.parse_import_section(&mut imports, section)?;
                imports.import(IMAGE_MODULE, exports::MEMORY, EntityType::Memory(memory));
                module.section(&imports);
            }
            Payload::MemorySection(_)
            | Payload::DataSection(_)
            | Payload::DataCountSection { .. } => {}
            Payload::StartSection { .. } => {
                return Err(SplitError::Unsupported("it has a start function"));
            }
            payload => {
                if let Some((id, range)) = payload.as_section() {
                    // A section is announced before the parser knows whether it is all there.
                    let data = wasm.get(range).ok_or_else(SplitError::cut_off)?;
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(module.finish())
}

fn initial_memory(wasm: &[u8], memory: MemoryType) -> Result<Vec<u8>, SplitError> {
    let mut module = Module::new();
    let mut memories = MemorySection::new();
    memories.memory(memory);
    module.section(&memories);
    let mut exported = ExportSection::new();
    exported.export(exports::MEMORY, ExportKind::Memory, 0);
    module.section(&exported);
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::DataSection(section) = payload? {
            let passive = section.clone().into_iter().any(|data| {
                matches!(data.map(|data| data.kind), Ok(wasmparser::DataKind::Passive))
            });
            if passive {
                return Err(SplitError::Unsupported("it has passive data"));
            }
            let mut data = DataSection::new();
            RoundtripReencoder.parse_data_section(&mut data, section)?;
            module.section(&data);
        }
    }
    Ok(module.finish())
}
