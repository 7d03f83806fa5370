//! Checks the source tree against the map in `docs/architecture.md`: every file has one row, imports only what
//! its row allows, opens with its purpose and can be read in one sitting; no library names the root.
//!
//! It reads text, not syntax: comments are left out, a file ends where its test module begins, and a name
//! re-exported by `lib.rs` counts as the module it comes from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this needs a reason, said in its row as `(long: reason)`.
const LONGEST: usize = 400;

/// The crates that must not know the root package.
const LIBRARIES: [&str; 6] = ["linkio", "rfc9111", "bentpipe-store", "bentpipe-bundle", "heap", "testkit"];

#[test]
fn the_tree_matches_its_map() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).expect("docs/architecture.md is there");
    let map = read_map(&text);
    assert!(!map.rows.is_empty(), "docs/architecture.md has no table of files");
    let mut faults = map.faults.clone();
    let files = source_files(root);
    for folder in files.iter().map(|file| file.folder.clone()).collect::<BTreeSet<_>>() {
        let files: Vec<_> = files.iter().filter(|file| file.folder == folder).collect();
        let exports = exports(&files);
        for file in files {
            faults.extend(check_file(file, &map, &exports));
        }
    }
    let there: BTreeSet<_> = files.iter().map(SourceFile::path).collect();
    let missing = map.rows.keys().filter(|path| !there.contains(*path));
    faults.extend(missing.map(|path| format!("{path}: the map has a row for a file that is not there")));
    assert!(faults.is_empty(), "the tree and its map disagree:\n{}", faults.join("\n"));
}

#[test]
fn libraries_never_name_the_root() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for library in LIBRARIES.iter().filter(|library| root.join("crates").join(library).exists()) {
        let manifest =
            fs::read_to_string(root.join("crates").join(library).join("Cargo.toml")).expect(library);
        let named = manifest.lines().any(|line| {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            name == "bentpipe" || name == "[dependencies.bentpipe]"
        });
        assert!(!named, "crates/{library}/Cargo.toml depends on the root package");
    }
    for file in source_files(root).iter().filter(|file| file.folder.starts_with("crates/")) {
        assert!(!file.code.contains("bentpipe::"), "{} names the root package", file.path());
    }
}

/// What one row allows its file to import.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed {
    All,
    AllBut(BTreeSet<String>),
    Only { own_folder: bool, modules: BTreeSet<String> },
}

/// One row of the map.
#[derive(Clone, Debug)]
struct Row {
    allowed: Allowed,
    long: bool,
}

/// The rows by path, and what is wrong with the map itself.
#[derive(Debug, Default)]
struct Map {
    rows: BTreeMap<String, Row>,
    faults: Vec<String>,
}

/// A Rust file: its source folder (`src` or `crates/x/src`), its path below that, its text, and its code
/// without comments and tests.
#[derive(Debug)]
struct SourceFile {
    folder: String,
    name: String,
    text: String,
    code: String,
}

impl SourceFile {
    fn path(&self) -> String {
        format!("{}/{}", self.folder, self.name)
    }

    /// The modules above the file's items: none for `lib.rs`, `a` for `a.rs`, `b` for `b/mod.rs` and `b/c.rs`.
    fn module(&self) -> Option<&str> {
        let first = self.name.split('/').next().unwrap_or_default();
        match first {
            "lib.rs" | "main.rs" => None,
            _ => Some(first.trim_end_matches(".rs")),
        }
    }
}

fn read_map(text: &str) -> Map {
    let mut map = Map::default();
    let mut folder: Option<String> = None;
    let mut above = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if !line.trim_start().starts_with('|') {
            folder = None;
            continue;
        }
        let first = cells[0].replace('`', "");
        let heading = first.split_whitespace().next().unwrap_or_default();
        if cells.get(2).is_some_and(|cell| *cell == "may import") {
            folder = heading.ends_with("src/").then(|| heading.trim_end_matches('/').to_owned());
            above.clear();
            continue;
        }
        let Some(folder) = folder.as_ref().filter(|_| !first.starts_with('-')) else { continue };
        let [_, owns, imports, ..] = cells[..] else {
            map.faults.push(format!("docs/architecture.md: too few columns: {line}"));
            continue;
        };
        let allowed = read_allowed(imports, &above);
        for name in names(&first) {
            above.insert(name.split(['/', '.']).next().unwrap_or_default().to_owned());
            let path = format!("{folder}/{name}");
            let row = Row { allowed: allowed.clone(), long: owns.contains("(long: ") };
            if map.rows.insert(path.clone(), row).is_some() {
                map.faults.push(format!("{path}: the map has two rows for it"));
            }
        }
    }
    map
}

/// The files of a row: `a.rs, b/{c,d}.rs` is `a.rs`, `b/c.rs` and `b/d.rs`.
fn names(cell: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = cell;
    while !rest.is_empty() {
        let brace = rest.find('{').unwrap_or(rest.len());
        let comma = rest.find(',').unwrap_or(rest.len());
        let end = if brace < comma {
            let close = rest.find('}').unwrap_or(rest.len());
            close + rest[close..].find(',').unwrap_or(rest.len() - close)
        } else {
            comma
        };
        names.extend(braced(rest[..end].trim()));
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    names
}

fn braced(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let (inner, after) = rest.split_once('}').unwrap_or((rest, ""));
    inner.split(',').map(|each| format!("{before}{}{after}", each.trim())).collect()
}

fn read_allowed(cell: &str, above: &BTreeSet<String>) -> Allowed {
    let list = |text: &str| -> BTreeSet<String> {
        text.split(',').map(|each| each.trim().replace('`', "")).filter(|each| !each.is_empty()).collect()
    };
    match cell {
        "all" => Allowed::All,
        "all above" => Allowed::Only { own_folder: true, modules: above.clone() },
        _ => match cell.strip_prefix("all but ") {
            Some(others) => Allowed::AllBut(list(others)),
            None => {
                let mut modules = list(cell);
                let own_folder = modules.remove("+");
                modules.remove("-");
                Allowed::Only { own_folder, modules }
            }
        },
    }
}

fn check_file(file: &SourceFile, map: &Map, exports: &HashMap<String, String>) -> Vec<String> {
    let path = file.path();
    let mut faults = Vec::new();
    if !file.text.starts_with("//!") {
        faults.push(format!("{path}: does not open with //! and its purpose"));
    }
    // Every library has a lib.rs of docs and exports and may have an error.rs that imports nothing.
    let implied = match file.name.as_str() {
        "lib.rs" => Some(Allowed::All),
        "error.rs" if file.folder != "src" => {
            Some(Allowed::Only { own_folder: false, modules: BTreeSet::new() })
        }
        _ => None,
    };
    let row = map.rows.get(&path).cloned().or(implied.map(|allowed| Row { allowed, long: false }));
    let Some(row) = row else {
        let names: Vec<_> = imports(file, exports).into_iter().collect();
        let names = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
        let lines = file.text.lines().count();
        faults.push(format!("{path}: the map has no row for it: | {} | | {names} | {lines} |", file.name));
        return faults;
    };
    let lines = file.text.lines().count();
    if lines > LONGEST && !row.long {
        faults.push(format!("{path}: {lines} lines, more than {LONGEST}, without a reason in the map"));
    }
    for module in imports(file, exports) {
        let own = file.module() == Some(module.as_str());
        let fine = match &row.allowed {
            Allowed::All => true,
            Allowed::AllBut(others) => !others.contains(&module),
            Allowed::Only { own_folder, modules } => {
                modules.contains(&module) || own && (*own_folder || !file.name.contains('/'))
            }
        };
        if !fine {
            faults.push(format!("{path}: names `{module}`, which its row does not allow"));
        }
    }
    faults
}

/// The top-level modules of its crate that the file names.
fn imports(file: &SourceFile, exports: &HashMap<String, String>) -> BTreeSet<String> {
    let depth = file.name.matches('/').count();
    let is_module_root = depth == 0 || file.name.ends_with("/mod.rs");
    let mut prefixes = vec!["crate::".to_owned()];
    if file.name == "main.rs" {
        prefixes.push("bentpipe::".to_owned());
    }
    // `super::` is the crate's root for a top-level file, and from deeper down when repeated.
    let ups = if is_module_root { depth.max(1) } else { depth + 1 };
    prefixes.push("super::".repeat(ups));
    let mut found = BTreeSet::new();
    for prefix in prefixes {
        for (at, _) in file.code.match_indices(&prefix) {
            let before = file.code[..at].chars().next_back();
            if before.is_some_and(|char| char.is_alphanumeric() || "_$:".contains(char)) {
                continue;
            }
            found.extend(first_words(&file.code[at + prefix.len()..]));
        }
    }
    // `super::super::x` matches the shorter prefix too: what it yields then is no module.
    found.remove("super");
    found.remove("self");
    found.into_iter().map(|name| exports.get(&name).cloned().unwrap_or(name)).collect()
}

/// The first segment of a path, or of each path of a group.
fn first_words(text: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start().chars().take_while(|char| char.is_alphanumeric() || *char == '_').collect()
    };
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let mut words = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                words.push(word(&group[start..at]));
                start = at + 1;
            }
            _ => {}
        }
        if char == '}' && depth == 0 && start == at + 1 {
            break;
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The names `lib.rs` re-exports, with the module each comes from.
fn exports(files: &[&SourceFile]) -> HashMap<String, String> {
    let mut exports = HashMap::new();
    let Some(lib) = files.iter().find(|file| file.name == "lib.rs") else { return exports };
    for (at, _) in lib.code.match_indices("use ") {
        let statement = lib.code[at + 4..].split(';').next().unwrap_or_default();
        let statement = statement.trim_start_matches("crate::").trim_start_matches("self::");
        let Some((module, names)) = statement.split_once("::") else { continue };
        for name in names.split(['{', '}', ',', ':', ' ', '\n']).filter(|name| !name.is_empty()) {
            exports.insert(name.to_owned(), module.trim().to_owned());
        }
    }
    exports
}

fn source_files(root: &Path) -> Vec<SourceFile> {
    let mut folders = vec![root.join("src")];
    for entry in fs::read_dir(root.join("crates")).expect("crates is a folder") {
        folders.push(entry.expect("its entries can be read").path().join("src"));
    }
    let mut files = Vec::new();
    for folder in folders.iter().filter(|folder| folder.exists()) {
        let shown = folder.strip_prefix(root).expect("below the root").to_string_lossy().into_owned();
        for path in rust_files(folder) {
            let name = path.strip_prefix(folder).expect("below its folder").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("a source file is text");
            let code = code_of(&text);
            files.push(SourceFile { folder: shown.clone(), name, text, code });
        }
    }
    files.sort_by_key(SourceFile::path);
    files
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a source folder can be read");
    let paths = entries.map(|entry| entry.expect("its entries can be read").path());
    let (folders, mut files): (Vec<_>, Vec<_>) = paths.partition(|path| path.is_dir());
    files.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.extend(folders.iter().flat_map(|folder| rust_files(folder)));
    files
}

/// The text without its test module (which stands last) and without line comments.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap_or_default(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

mod tests {
    use super::*;

    fn file(name: &str, code: &str) -> SourceFile {
        SourceFile {
            folder: "src".into(),
            name: name.into(),
            text: format!("//!\n{code}"),
            code: code.into(),
        }
    }

    fn check(name: &str, imports: &str, code: &str, fault: Option<&str>) {
        let table = format!(
            "| src/ | owns | may import | lines |\n|---|---|---|---|\n| {name} | x | {imports} | 1 |\n"
        );
        let lib = file("lib.rs", "pub use config::{Config, ConfigErrors};\npub use clock::Clock;");
        let found = check_file(&file(name, code), &read_map(&table), &exports(&[&lib]));
        match fault {
            Some(module) => assert!(found.join(" ").contains(&format!("`{module}`")), "{found:?}"),
            None => assert!(found.is_empty(), "{found:?}"),
        }
    }

    #[test]
    fn rows_name_their_files() {
        assert_eq!(names("cli/{cache,bundle}.rs"), ["cli/cache.rs", "cli/bundle.rs"]);
        assert_eq!(
            names("rate.rs, moment.rs, tokio/{mod, io}.rs"),
            ["rate.rs", "moment.rs", "tokio/mod.rs", "tokio/io.rs"]
        );
    }

    #[test]
    fn imports_must_be_allowed_by_the_row() {
        check("a.rs", "config", "use crate::config::Config;", None);
        check("a.rs", "-", "use crate::config::Config;", Some("config"));
        check("a.rs", "-", "use crate::Config;", Some("config"));
        check("a.rs", "clock", "use crate::{Clock, body::{self, Body}};", Some("body"));
        check("a.rs", "all but cli", "fn f() { crate::cli::run() }", Some("cli"));
        check("a.rs", "-", "use super::body::Body;", Some("body"));
        check("a/b.rs", "-", "use super::Line;\nuse crate::a::Line;", Some("a"));
        check("a/b.rs", "+", "use super::Line;\nuse crate::a::Line;", None);
        check("a/b.rs", "+", "use super::super::body::Body;", Some("body"));
        check("main.rs", "cli", "fn main() { bentpipe::cli::main() }", None);
    }

    #[test]
    fn a_file_needs_its_row_and_its_purpose() {
        let nothing = Map::default();
        let orphan = SourceFile { text: "fn f() {}".into(), ..file("a.rs", "") };
        let faults = check_file(&orphan, &nothing, &HashMap::new()).join(" ");
        assert!(faults.contains("no row") && faults.contains("does not open"), "{faults}");
    }
}
