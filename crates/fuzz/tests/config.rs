//! Any bytes as a configuration file: a configuration, or an error that says something.

use std::fs;

use bentpipe::Config;

const WORDS: [&str; 16] = [
    "[cache]\n",
    "size",
    "dir",
    " = ",
    "\"10G\"",
    "\n",
    "listen",
    "[\"127.0.0.1:0\"]",
    "[link]\n",
    "spec",
    "\"512k\"",
    "true",
    "17",
    "[destinations]\n",
    "allow",
    "'",
];

#[test]
fn any_file_gives_a_configuration_or_an_error() {
    bolero::check!().with_iterations(400).with_type::<(Vec<u8>, Vec<u8>)>().for_each(|(words, rest)| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("bentpipe.toml");
        let mut text: Vec<u8> =
            words.iter().flat_map(|word| WORDS[usize::from(*word) % WORDS.len()].bytes()).collect();
        text.extend_from_slice(rest);
        fs::write(&file, text).expect("written");
        if let Err(errors) = Config::from_flags(["--config", &file.to_string_lossy()]) {
            assert!(!errors.to_string().is_empty());
        }
    });
}

#[test]
fn any_flags_give_a_configuration_or_an_error() {
    bolero::check!().with_iterations(400).with_type::<(String, String)>().for_each(|(link, value)| {
        let set = format!("cache.size={value}");
        for flags in [["--link", link], ["--set", value], ["--set", &set], ["--allow-destination", value]] {
            if let Err(errors) = Config::from_flags(flags) {
                assert!(!errors.to_string().is_empty());
            }
        }
    });
}
