//! The JavaScript libraries that templates can name: what is known of them, what is installed.
//!
//! Installing one is `cli/libs.rs`; loading one is the host's.

use crate::wire::CatalogueEntry;
use std::collections::{BTreeMap, BTreeSet};
use vm_host::LibraryName;

/// A library that `libs download` installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KnownLibrary {
    /// The package, as the npm registry calls it.
    pub(crate) package: &'static str,
    /// The version that is downloaded.
    pub(crate) version: &'static str,
    /// The file of the package that defines the global.
    pub(crate) entry: &'static str,
    /// The global that scripts see.
    pub(crate) global: &'static str,
    /// What is written behind the package's file, where the file alone does not define the global.
    pub(crate) epilogue: &'static str,
    /// What it is.
    pub(crate) description: &'static str,
}

/// The libraries that `libs download` installs.
pub(crate) const KNOWN: &[KnownLibrary] = &[
    KnownLibrary {
        package: "axios",
        version: "1.6.0",
        entry: "dist/axios.min.js",
        global: "axios",
        epilogue: "",
        description: "HTTP client. It loads; requests need a network that scripts do not have.",
    },
    KnownLibrary {
        package: "dayjs",
        version: "1.11.10",
        entry: "dayjs.min.js",
        global: "dayjs",
        epilogue: "",
        description: "Dates and times, small and immutable.",
    },
    KnownLibrary {
        package: "lodash",
        version: "4.17.21",
        entry: "lodash.min.js",
        global: "_",
        epilogue: "",
        description: "Functions on arrays, objects and strings.",
    },
    KnownLibrary {
        package: "moment",
        version: "2.29.4",
        entry: "min/moment.min.js",
        global: "moment",
        epilogue: "",
        description: "Dates and times.",
    },
    KnownLibrary {
        package: "ramda",
        version: "0.29.0",
        entry: "dist/ramda.min.js",
        global: "R",
        epilogue: "",
        description: "Functions for a functional style.",
    },
    KnownLibrary {
        package: "zustand",
        version: "4.4.7",
        entry: "umd/vanilla.production.js",
        global: "zustand",
        epilogue: "\nvar zustand = zustandVanilla;\n",
        description: "State containers, the part that needs no React.",
    },
];

impl KnownLibrary {
    /// What templates call it.
    pub(crate) fn name(&self) -> String {
        format!("{}-{}", self.package, self.version)
    }
}

/// The known libraries and those that are installed, by package.
pub(crate) fn catalogue(installed: &[LibraryName]) -> Vec<CatalogueEntry> {
    let mut packages: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for known in KNOWN {
        packages.entry(known.package).or_default().0.insert(known.version);
    }
    for name in installed {
        let (versions, installed) = packages.entry(name.package()).or_default();
        versions.insert(name.version());
        installed.insert(name.version());
    }
    let owned = |set: BTreeSet<&str>| set.into_iter().map(str::to_owned).collect();
    let entry = |(package, (versions, installed)): (&str, (BTreeSet<&str>, BTreeSet<&str>))| {
        let known = KNOWN.iter().find(|known| known.package == package);
        let description = match known {
            Some(known) => format!("{} Global: {}.", known.description, known.global),
            None => "Installed in the library folder.".to_owned(),
        };
        CatalogueEntry {
            config_schema: None,
            limits: None,
            id: package.to_owned(),
            name: package.to_owned(),
            kind: "library".to_owned(),
            description,
            functions: None,
            versions: Some(owned(versions)),
            installed: Some(owned(installed)),
        }
    };
    packages.into_iter().map(entry).collect()
}
