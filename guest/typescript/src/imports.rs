//! Imports of types that do not say so.
//!
//! The TypeScript that people write has `import { Row } from './rows.ts'` for an interface as for a
//! function. To a compiler an import that is used as a type alone is one; here too.
//!
//! Invariant: what is used as a value anywhere in the file, or not at all, is imported as it is written.

use std::collections::HashSet;
use swc_ecma_ast::{
    Decl, ExportSpecifier, Ident, ImportDecl, ImportSpecifier, ModuleDecl, ModuleExportName,
    ModuleItem, NamedExport, Program, TsExprWithTypeArgs, TsType,
};
use swc_ecma_visit::{Visit, VisitWith};

/// Marks the imports that are used as types alone as imports of types.
pub(crate) fn mark_types(program: &mut Program) {
    let Program::Module(module) = program else { return };
    let is_import =
        |item: &ModuleItem| matches!(item, ModuleItem::ModuleDecl(ModuleDecl::Import(_)));
    if !module.body.iter().any(is_import) {
        return;
    }
    let mut uses = Uses::default();
    module.visit_with(&mut uses);
    for item in &mut module.body {
        if let ModuleItem::ModuleDecl(ModuleDecl::Import(import)) = item {
            mark(import, &uses);
        }
    }
}

fn mark(import: &mut ImportDecl, uses: &Uses) {
    let is_type =
        |specifier: &ImportSpecifier| specifier.is_type_only() || uses.are_types(specifier.local());
    let names_types = |specifier: &ImportSpecifier| uses.are_types(specifier.local());
    if import.specifiers.iter().all(is_type) && import.specifiers.iter().any(names_types) {
        import.type_only = true;
        return;
    }
    for specifier in &mut import.specifiers {
        if let ImportSpecifier::Named(named) = specifier
            && uses.are_types(&named.local)
        {
            named.is_type_only = true;
        }
    }
}

/// The names that a file uses, whatever they are bound to there.
#[derive(Default)]
struct Uses {
    as_values: HashSet<String>,
    as_types: HashSet<String>,
    /// How many types what is looked at is within.
    depth: u32,
}

impl Uses {
    fn are_types(&self, name: &Ident) -> bool {
        let name = name.sym.as_str();
        self.as_types.contains(name) && !self.as_values.contains(name)
    }

    fn within_type(&mut self, visit: impl FnOnce(&mut Self)) {
        self.depth += 1;
        visit(self);
        self.depth -= 1;
    }
}

impl Visit for Uses {
    fn visit_ident(&mut self, name: &Ident) {
        let names = if self.depth == 0 { &mut self.as_values } else { &mut self.as_types };
        if !names.contains(name.sym.as_str()) {
            names.insert(name.sym.as_str().to_owned());
        }
    }

    fn visit_import_decl(&mut self, _: &ImportDecl) {}

    fn visit_named_export(&mut self, export: &NamedExport) {
        // What is exported of another module is no name of this one.
        if export.src.is_some() {
            return;
        }
        for specifier in &export.specifiers {
            if let ExportSpecifier::Named(named) = specifier
                && let ModuleExportName::Ident(name) = &named.orig
            {
                if export.type_only || named.is_type_only {
                    self.within_type(|uses| uses.visit_ident(name));
                } else {
                    self.visit_ident(name);
                }
            }
        }
    }

    fn visit_decl(&mut self, part: &Decl) {
        let is_type = match part {
            Decl::TsInterface(_) | Decl::TsTypeAlias(_) => true,
            Decl::Class(class) => class.declare,
            Decl::Fn(function) => function.declare,
            Decl::Var(variable) => variable.declare,
            _ => false,
        };
        if is_type {
            self.within_type(|uses| part.visit_children_with(uses));
        } else {
            part.visit_children_with(self);
        }
    }

    fn visit_ts_type(&mut self, part: &TsType) {
        self.within_type(|uses| part.visit_children_with(uses));
    }

    fn visit_ts_expr_with_type_args(&mut self, part: &TsExprWithTypeArgs) {
        self.within_type(|uses| part.visit_children_with(uses));
    }
}
