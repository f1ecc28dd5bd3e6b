//! What there is in a module that its meter has to know: where it loops, who calls whom, and which
//! functions have to look when they are entered.
//!
//! Invariant: around those that look, no function calls itself but by pointer, and none has more than
//! [`MAX_UNSEEN`] operators run by what it calls by name, loops apart.

use crate::split::SplitError;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};

/// Operators that may run from a function's entry, in it and in what it calls by name, loops apart,
/// before it looks itself: calls that each call twice would double them without an end.
const MAX_UNSEEN: u64 = 1 << 13;

/// What there is in a module, as far as the meter has to know.
#[derive(Default)]
pub(super) struct Shape {
    /// Parameters of each function type.
    pub(super) params: Vec<u32>,
    /// The type of each function, imported ones first.
    pub(super) functions: Vec<u32>,
    pub(super) imported_functions: u32,
    pub(super) globals: u32,
    /// Of each function that is defined.
    pub(super) bodies: Vec<Body>,
}

/// What there is in a function.
pub(super) struct Body {
    pub(super) operators: u32,
    /// In the order in which they begin.
    pub(super) loops: Vec<Loop>,
    /// The defined functions that it calls by name, and in how many places.
    callees: BTreeMap<usize, u64>,
}

pub(super) struct Loop {
    /// Operators in it and in no loop within it.
    pub(super) operators: u32,
    /// Whether it calls nothing and has no loop within it.
    pub(super) is_leaf: bool,
}

impl Shape {
    pub(super) fn of(code: &[u8]) -> Result<Self, SplitError> {
        let mut shape = Self::default();
        for payload in Parser::new(0).parse_all(code) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        shape.params.push(number(ty?.params().len()));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        match import?.ty {
                            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => shape.functions.push(ty),
                            TypeRef::Global(_) => shape.globals += 1,
                            TypeRef::Table(_) | TypeRef::Memory(_) | TypeRef::Tag(_) => {}
                        }
                    }
                    shape.imported_functions = number(shape.functions.len());
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        shape.functions.push(ty?);
                    }
                }
                Payload::GlobalSection(section) => shape.globals += section.count(),
                Payload::CodeSectionEntry(body) => {
                    shape.bodies.push(Body::of(&body, shape.imported_functions)?);
                }
                _ => {}
            }
        }
        Ok(shape)
    }

    /// Defined functions that look when they are entered: those that break the cycles, and those from
    /// which much would run unseen.
    pub(super) fn looking(&self) -> BTreeSet<usize> {
        let mut looking = self.cycle_breakers();
        let mut unseen: Vec<Option<u64>> = vec![None; self.bodies.len()];
        for function in 0..self.bodies.len() {
            // What it calls comes first.
            let mut open = vec![function];
            while let Some(&function) = open.last() {
                let callees = &self.bodies[function].callees;
                let of = |callee: &usize| {
                    if looking.contains(callee) { Some(1) } else { unseen[*callee] }
                };
                let before = open.len();
                open.extend(callees.keys().filter(|callee| of(callee).is_none()));
                if open.len() > before && unseen[function].is_none() {
                    continue;
                }
                open.truncate(before - 1);
                let called = callees.iter().fold(0, |sum: u64, (callee, places)| {
                    sum.saturating_add(of(callee).unwrap_or(0).saturating_mul(*places))
                });
                let all = called.saturating_add(self.bodies[function].operators.into());
                unseen[function] = Some(all);
                if all > MAX_UNSEEN {
                    looking.insert(function);
                }
            }
        }
        looking
    }

    /// Defined functions without which none would call each other in a circle, but by pointer.
    fn cycle_breakers(&self) -> BTreeSet<usize> {
        let mut graph = Graph::of(&self.bodies);
        let mut breakers = BTreeSet::new();
        loop {
            graph.drop_what_is_in_no_cycle();
            let Some(busiest) = graph.busiest() else { return breakers };
            breakers.insert(busiest);
            graph.remove(busiest);
        }
    }
}

impl Body {
    fn of(body: &FunctionBody<'_>, imported_functions: u32) -> Result<Self, SplitError> {
        let mut found = Self { operators: 0, loops: Vec::new(), callees: BTreeMap::new() };
        // The loop that each open block is, if it is one; the function's own is the first.
        let mut open: Vec<Option<usize>> = vec![None];
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            found.operators += 1;
            if let Some(innermost) = open.iter().rev().flatten().next() {
                found.loops[*innermost].operators += 1;
            }
            match operator {
                Operator::Loop { .. } => {
                    found.note_call(&open);
                    open.push(Some(found.loops.len()));
                    found.loops.push(Loop { operators: 0, is_leaf: true });
                }
                Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                    open.push(None);
                }
                Operator::End => drop(open.pop()),
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    found.note_call(&open);
                    if let Some(defined) = function_index.checked_sub(imported_functions) {
                        *found.callees.entry(defined as usize).or_default() += 1;
                    }
                }
                Operator::MemoryGrow { .. } => found.note_call(&open),
                other if calls_by_pointer(&other) || counts_bytes(&other) => found.note_call(&open),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Notes that the loops which are open are more than their own operators.
    fn note_call(&mut self, open: &[Option<usize>]) {
        for outer in open.iter().flatten() {
            self.loops[*outer].is_leaf = false;
        }
    }
}

pub(super) fn calls_by_pointer(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. }
    )
}

pub(super) fn counts_bytes(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::MemoryCopy { .. }
            | Operator::MemoryFill { .. }
            | Operator::MemoryInit { .. }
            | Operator::TableCopy { .. }
            | Operator::TableFill { .. }
            | Operator::TableInit { .. }
            | Operator::TableGrow { .. }
    )
}

/// Who calls whom.
struct Graph {
    called_by: Vec<BTreeSet<usize>>,
    calls: Vec<BTreeSet<usize>>,
    left: BTreeSet<usize>,
    /// Functions that may be in no cycle any more.
    touched: Vec<usize>,
}

impl Graph {
    fn of(bodies: &[Body]) -> Self {
        let calls: Vec<BTreeSet<_>> =
            bodies.iter().map(|body| body.callees.keys().copied().collect()).collect();
        let mut called_by = vec![BTreeSet::new(); calls.len()];
        for (caller, callees) in calls.iter().enumerate() {
            for callee in callees {
                called_by[*callee].insert(caller);
            }
        }
        let all = 0..calls.len();
        Self { called_by, calls, left: all.clone().collect(), touched: all.collect() }
    }

    /// What nobody calls, or calls nobody, of those left is in no cycle.
    fn drop_what_is_in_no_cycle(&mut self) {
        while let Some(function) = self.touched.pop() {
            let is_free = self.called_by[function].is_empty() || self.calls[function].is_empty();
            if is_free && self.left.contains(&function) {
                self.remove(function);
            }
        }
    }

    /// Of those left, the one that most calls go through.
    fn busiest(&self) -> Option<usize> {
        let through =
            |function: &usize| self.called_by[*function].len() * self.calls[*function].len();
        self.left.iter().copied().max_by_key(through)
    }

    fn remove(&mut self, function: usize) {
        self.left.remove(&function);
        for caller in std::mem::take(&mut self.called_by[function]) {
            self.calls[caller].remove(&function);
            self.touched.push(caller);
        }
        for callee in std::mem::take(&mut self.calls[function]) {
            self.called_by[callee].remove(&function);
            self.touched.push(callee);
        }
    }
}

/// What is counted of a module that was validated.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).expect("a valid module has fewer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_function_calls_itself_around_those_that_break_the_cycles() {
        let code = crate::split(crate::wasm()).unwrap().code;
        let shape = Shape::of(&code).unwrap();
        let breakers = shape.cycle_breakers();
        let mut graph = Graph::of(&shape.bodies);
        for function in &breakers {
            graph.remove(*function);
        }
        graph.drop_what_is_in_no_cycle();
        assert!(graph.left.is_empty(), "{:?}", graph.left);
        // Few look, so that what is small stays fast.
        let looking = shape.looking().len();
        assert!(looking * 4 < shape.bodies.len(), "{looking} of {}", shape.bodies.len());
    }
}
