//! Meters the guest: has its code count down, in a global, what it does, and call the host when that is
//! used up.
//!
//! Wasmtime's own fuel is loaded and checked when a function is entered, and stored around every call,
//! which costs `QuickJS`, a program of many small functions, a third of its speed. Whatever runs for long
//! comes by a loop or goes round in calls, and it is enough to look there. `ARCHITECTURE.md` has the
//! figures.
//!
//! ```text
//!   a loop that calls something      counts its operators at each turn, and looks
//!   a loop of nothing but operators  counts them, and traps when it is far below zero
//!   a function of a cycle of calls   counts when it is entered, and looks
//!   one from which much is called    the same
//!   a function of some size          counts when it is entered
//!   a call by pointer                counts, and looks
//!   a copy or fill                   counts its bytes, or elements of a table, and looks
//! ```
//!
//! To look is to call the host when the counter is below zero: it gives more, or does not return. A call
//! in the midst of a small loop would cost the loop its registers, so that those go on into an overdraft,
//! whose bound is the host's to set: with more than what a pass over all of the memory counts, no loop of
//! `QuickJS` meets it.
//!
//! Invariant: what runs between two looks, but for the overdraft, is bounded by the code alone: a function
//! is run through once, and what it calls has no more than `MAX_UNSEEN` operators each (`shape.rs`).

mod shape;

use crate::abi::{METER_MODULE, exports, meter_imports};
use crate::split::SplitError;
use shape::{Body, Loop, Shape, calls_by_pointer, counts_bytes, number};
use std::collections::BTreeSet;
use wasm_encoder::reencode::{Error as ReencodeError, Reencode};
use wasm_encoder::{
    BlockType, BranchHint, BranchHints, CodeSection, ConstExpr, ElementSection, EntityType,
    ExportKind, ExportSection, Function, GlobalSection, GlobalType, ImportSection, Instruction,
    Module, RawSection, SectionId, TypeSection, ValType,
};
use wasmparser::{
    BinaryReader, CodeSectionReader, FunctionBody, Operator, Parser, Payload, Validator,
};

/// Version of what counts and how much: code that was metered by another is metered anew.
pub const METER_VERSION: u32 = 4;

/// The most that one turn of a loop counts, which is the number of operators in it.
pub const MAX_TURN_COST: u32 = 32;
/// What entering a function that looks counts, and the most that another does, which is the number of
/// operators in it.
const MAX_ENTRY_COST: u32 = 48;
/// Operators of a function that is too small to count where it is in no cycle.
const SMALL_FUNCTION: u32 = 60;
/// What a call by pointer counts.
const INDIRECT_CALL_COST: u32 = 16;

/// Bytes copied or filled that count one, as a power of two.
const BYTES_PER_UNIT_LOG2: i32 = 1;

/// Code with a meter in it.
///
/// It exports its counter as [`exports::FUEL`] and the bound of its overdraft, a number below zero, as
/// [`exports::FUEL_FLOOR`], and imports [`meter_imports::OUT_OF_FUEL`] from [`METER_MODULE`], which is
/// called when the counter is below zero and gives it more or does not return. Both begin as 0. Past the
/// floor the code traps as `unreachable`.
///
/// # Errors
/// When the module is not valid.
pub fn metered(code: &[u8]) -> Result<Vec<u8>, SplitError> {
    // What is added could otherwise be named by code that names what it does not have.
    Validator::new().validate_all(code)?;
    let shape = Shape::of(code)?;
    let looking = shape.looking();
    let mut encoder =
        Metering { shape: &shape, looking: &looking, next: 0, unlikely: BranchHints::new() };
    let mut module = Module::new();
    let mut has_globals = false;
    for payload in Parser::new(0).parse_all(code) {
        let payload = payload?;
        let section = payload.as_section();
        if !has_globals && section.as_ref().is_some_and(|(id, _)| follows_globals(*id)) {
            has_globals = true;
            module.section(&with_fuel(GlobalSection::new()));
        }
        match payload {
            Payload::TypeSection(section) => {
                let mut types = TypeSection::new();
                encoder.parse_type_section(&mut types, section)?;
                types.ty().function([], []);
                module.section(&types);
            }
            Payload::ImportSection(section) => {
                let mut all = ImportSection::new();
                encoder.parse_import_section(&mut all, section)?;
                let ty = EntityType::Function(number(shape.params.len()));
                all.import(METER_MODULE, meter_imports::OUT_OF_FUEL, ty);
                module.section(&all);
            }
            Payload::GlobalSection(section) => {
                has_globals = true;
                let mut globals = GlobalSection::new();
                encoder.parse_global_section(&mut globals, section)?;
                module.section(&with_fuel(globals));
            }
            Payload::ExportSection(section) => {
                let mut exported = ExportSection::new();
                encoder.parse_export_section(&mut exported, section)?;
                exported.export(exports::FUEL, ExportKind::Global, shape.globals);
                exported.export(exports::FUEL_FLOOR, ExportKind::Global, shape.globals + 1);
                module.section(&exported);
            }
            Payload::ElementSection(section) => {
                let mut elements = ElementSection::new();
                encoder.parse_element_section(&mut elements, section)?;
                module.section(&elements);
            }
            Payload::CodeSectionStart { range, .. } => {
                let section = code.get(range).ok_or_else(SplitError::cut_off)?;
                let section = CodeSectionReader::new(BinaryReader::new(section, 0))?;
                let mut bodies = CodeSection::new();
                encoder.parse_code_section(&mut bodies, section)?;
                module.section(&encoder.unlikely);
                module.section(&bodies);
            }
            // What custom sections say of functions would be said of others.
            Payload::CodeSectionEntry(_) | Payload::CustomSection(_) => {}
            _ => {
                if let Some((id, range)) = section {
                    let data = code.get(range).ok_or_else(SplitError::cut_off)?;
                    module.section(&RawSection { id, data });
                }
            }
        }
    }
    Ok(module.finish())
}

/// Whether a section stands behind that of globals, and has to do with it.
fn follows_globals(section: u8) -> bool {
    section > SectionId::Global as u8 && section != SectionId::Tag as u8
}

fn with_fuel(mut globals: GlobalSection) -> GlobalSection {
    let ty = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    globals.global(ty, &ConstExpr::i64_const(0)).global(ty, &ConstExpr::i64_const(0));
    globals
}

/// Encodes a module again, with the meter.
struct Metering<'a> {
    shape: &'a Shape,
    /// The functions that look when they are entered.
    looking: &'a BTreeSet<usize>,
    /// The next function body's number, of those defined.
    next: usize,
    /// The branches that are taken when something is used up.
    unlikely: BranchHints,
}

impl Reencode for Metering<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, ReencodeError> {
        // The host's function is the last of the imported ones.
        Ok(index + u32::from(index >= self.shape.imported_functions))
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), ReencodeError> {
        let (shape, nth) = (self.shape, self.next);
        self.next += 1;
        let ty = shape.functions[shape.imported_functions as usize + nth] as usize;
        let mut own_locals = shape.params[ty];
        let mut locals = Vec::new();
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            own_locals += count;
            locals.push((count, self.val_type(ty)?));
        }
        locals.extend([(1, ValType::I64), (1, ValType::I32)]);
        let mut function = Function::new(locals);
        let mut meter = Meter {
            fuel: shape.globals,
            floor: shape.globals + 1,
            out_of_fuel: shape.imported_functions,
            left: own_locals,
            bytes: own_locals + 1,
            unlikely: Vec::new(),
        };
        let Body { operators, loops, .. } = &shape.bodies[nth];
        if self.looking.contains(&nth) {
            // However small it is: it stands for what it calls.
            meter.count(&mut function, MAX_ENTRY_COST, Then::Look);
        } else if *operators >= SMALL_FUNCTION {
            meter.count(&mut function, (*operators).min(MAX_ENTRY_COST), Then::GoOn);
        }
        let mut loops = loops.iter();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            if calls_by_pointer(&operator) {
                meter.count(&mut function, INDIRECT_CALL_COST, Then::Look);
            } else if counts_bytes(&operator) {
                meter.count_bytes(&mut function);
            }
            let begins =
                if matches!(operator, Operator::Loop { .. }) { loops.next() } else { None };
            function.instruction(&self.instruction(operator)?);
            if let Some(Loop { operators, is_leaf }) = begins {
                let then = if *is_leaf { Then::Trap } else { Then::Look };
                meter.count(&mut function, (*operators).clamp(1, MAX_TURN_COST), then);
            }
        }
        if !meter.unlikely.is_empty() {
            let index = shape.imported_functions + 1 + number(nth);
            self.unlikely.function_hints(index, meter.unlikely);
        }
        code.function(&function);
        Ok(())
    }
}

/// What the meter uses in a function, by their indices.
struct Meter {
    /// The counter, a global.
    fuel: u32,
    /// The bound of the overdraft, another.
    floor: u32,
    /// The host's function.
    out_of_fuel: u32,
    /// A local of 64 bits.
    left: u32,
    /// A local of 32 bits.
    bytes: u32,
    unlikely: Vec<BranchHint>,
}

/// What follows when something was counted.
#[derive(Clone, Copy)]
enum Then {
    GoOn,
    /// The host is called below zero.
    Look,
    /// The code traps below the floor.
    Trap,
}

impl Meter {
    fn count(&mut self, function: &mut Function, units: u32, then: Then) {
        function
            .instruction(&Instruction::GlobalGet(self.fuel))
            .instruction(&Instruction::I64Const(units.into()));
        self.subtract(function, then);
    }

    /// Counts the bytes whose number is uppermost on the stack.
    fn count_bytes(&mut self, function: &mut Function) {
        function
            .instruction(&Instruction::LocalTee(self.bytes))
            .instruction(&Instruction::GlobalGet(self.fuel))
            .instruction(&Instruction::LocalGet(self.bytes))
            .instruction(&Instruction::I32Const(BYTES_PER_UNIT_LOG2))
            .instruction(&Instruction::I32ShrU)
            .instruction(&Instruction::I64ExtendI32U);
        self.subtract(function, Then::Look);
    }

    fn subtract(&mut self, function: &mut Function, then: Then) {
        function
            .instruction(&Instruction::I64Sub)
            .instruction(&Instruction::LocalTee(self.left))
            .instruction(&Instruction::GlobalSet(self.fuel));
        let (bound, passed) = match then {
            Then::GoOn => return,
            Then::Look => (Instruction::I64Const(0), Instruction::Call(self.out_of_fuel)),
            Then::Trap => (Instruction::GlobalGet(self.floor), Instruction::Unreachable),
        };
        function
            .instruction(&Instruction::LocalGet(self.left))
            .instruction(&bound)
            .instruction(&Instruction::I64LtS);
        self.unlikely.push(BranchHint {
            branch_func_offset: number(function.byte_len()),
            branch_hint_value: 0,
        });
        function
            .instruction(&Instruction::If(BlockType::Empty))
            .instruction(&passed)
            .instruction(&Instruction::End);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// All that the meter looks at.
    const ALL: &str = r#"(module
        (import "vm" "take" (func $take (param i32)))
        (memory 1)
        (table 1 funcref)
        (elem (i32.const 0) $itself)
        (func $itself (param i32) (result i32)
            (loop $turn (br_if $turn (i32.eqz (local.get 0))))
            (loop $turn (call $take (local.get 0)) (loop) (br_if $turn (local.get 0)))
            (memory.fill (local.get 0) (i32.const 0) (i32.const 8))
            (memory.copy (local.get 0) (i32.const 0) (i32.const 8))
            (table.fill (local.get 0) (ref.null func) (i32.const 1))
            (drop (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))
            (call $itself (local.get 0)))
        (func $larger (drop (call $itself (i32.const 1)))
            nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop
            nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop
            nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop nop)
        (export "larger" (func $larger)))"#;

    /// What is metered otherwise is compiled anew only if the version says so.
    #[test]
    fn the_version_is_another_when_the_meter_is() {
        let metered = metered(&wat::parse_str(ALL).unwrap()).unwrap();
        let hash = format!("{:x}", Sha256::digest(metered));
        assert_eq!((METER_VERSION, &hash[..16]), (4, "2341af1cb89f1451"));
    }
}
