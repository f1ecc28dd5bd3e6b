//! What a test says of itself, in the YAML between `/*---` and `---*/`.
//!
//! Invariant: of YAML it knows what the suite writes of the keys that are read here: texts, and lists
//! in brackets or a line each.

/// What a test says of itself, as far as it matters to who runs it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) flags: Vec<String>,
    pub(crate) features: Vec<String>,
    /// Files of `harness/` that it needs.
    pub(crate) includes: Vec<String>,
    pub(crate) negative: Option<Negative>,
}

/// The error that a test has to end with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Negative {
    pub(crate) phase: Phase,
    /// The name of its constructor.
    pub(crate) error: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Parse,
    Resolution,
    Runtime,
}

impl Metadata {
    /// Reads the metadata of a test; `None` when it has none.
    pub(crate) fn of(source: &str) -> Option<Self> {
        let (_, rest) = source.split_once("/*---")?;
        let (yaml, _) = rest.split_once("---*/")?;
        let mut metadata = Self::default();
        let (mut phase, mut error) = (None, None);
        let mut key = "";
        for line in yaml.split(['\r', '\n']).map(without_comment) {
            let indented = line.starts_with([' ', '\t']);
            let line = line.trim();
            let value = match line.split_once(':') {
                Some((name, value)) if !indented => {
                    key = name;
                    value.trim()
                }
                Some((name, value)) if key == "negative" => {
                    match name {
                        "phase" => phase = Some(value.trim().to_owned()),
                        "type" => error = Some(value.trim().to_owned()),
                        _ => {}
                    }
                    continue;
                }
                Some(_) | None => line,
            };
            match key {
                "flags" => metadata.flags.extend(items(value)),
                "features" => metadata.features.extend(items(value)),
                "includes" => metadata.includes.extend(items(value)),
                _ => {}
            }
        }
        metadata.negative = phase.as_deref().and_then(Phase::of).zip(error).map(Negative::from);
        Some(metadata)
    }

    pub(crate) fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    pub(crate) fn has_feature(&self, feature: &str) -> bool {
        self.features.iter().any(|own| own == feature)
    }
}

impl Phase {
    fn of(name: &str) -> Option<Self> {
        match name {
            "parse" => Some(Self::Parse),
            "resolution" => Some(Self::Resolution),
            "runtime" => Some(Self::Runtime),
            _ => None,
        }
    }
}

impl From<(Phase, String)> for Negative {
    fn from((phase, error): (Phase, String)) -> Self {
        Self { phase, error }
    }
}

/// The items of a list in brackets, of a part of one, or of one line of a list.
fn items(text: &str) -> impl Iterator<Item = String> {
    let text = text.trim_start_matches("- ").trim_matches(['[', ']', ' ']);
    text.split(',')
        .map(|item| item.trim().trim_matches(['[', ']', '\'', '"']).to_owned())
        .filter(|item| !item.is_empty())
}

fn without_comment(line: &str) -> &str {
    line.find(" #").map_or(line, |at| &line[..at])
}
