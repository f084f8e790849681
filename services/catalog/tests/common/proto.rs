//! Contracts written as `.proto` texts.

use std::path::{Path, PathBuf};

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

/// Compiles one file, which may import `lienthong/options/v1/options.proto`, to a descriptor set with imports.
pub fn compile(text: &str) -> Vec<u8> {
    compile_with(text, &vocabulary())
}

/// The same with another `vocabulary.proto`.
pub fn compile_with(text: &str, vocabulary: &str) -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(NAME, text.to_owned()));
    resolver.add(Text(VOCABULARY, vocabulary.to_owned()));
    resolver.add(IncludeFileResolver::new(folder()));
    // What the samples import beside: `google/api`.
    resolver.add(IncludeFileResolver::new(folder().join("samples")));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file(NAME).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    compiler.encode_file_descriptor_set()
}

/// The text of the words of the law.
pub fn vocabulary() -> String {
    std::fs::read_to_string(folder().join(VOCABULARY)).unwrap()
}

/// The text of a sample agency's contract.
pub fn sample(path: &str) -> String {
    std::fs::read_to_string(folder().join("samples").join(path)).unwrap()
}

const NAME: &str = "contract.proto";
const VOCABULARY: &str = "lienthong/options/v1/vocabulary.proto";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

/// A file by name, from memory.
struct Text(&'static str, String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == self.0 {
            File::from_source(name, &self.1)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}
