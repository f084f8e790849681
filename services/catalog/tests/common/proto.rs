//! Contracts written as `.proto` texts.

use std::path::Path;

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

/// Compiles one file, which may import `lienthong/options/v1/options.proto`, to a descriptor set with imports.
pub fn compile(text: &str) -> Vec<u8> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(text.to_owned()));
    resolver.add(IncludeFileResolver::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler.open_file(NAME).unwrap_or_else(|error| panic!("{error:?}\n{text}"));
    compiler.encode_file_descriptor_set()
}

/// The text of a sample agency's contract.
pub fn sample(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/samples");
    std::fs::read_to_string(folder.join(path)).unwrap()
}

const NAME: &str = "contract.proto";

struct Text(String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == NAME { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}
