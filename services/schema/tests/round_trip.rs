//! What is printed compiles to what was printed: real contracts, and generated ones that use everything that the
//! protobuf language offers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code

mod generate;

use std::collections::BTreeMap;

use lienthong_proto::descriptors;
use lienthong_schema::Printer;
use proptest::prelude::*;
use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

#[test]
fn the_contracts_of_the_house_round_trip() {
    for set in [
        descriptors::MESH,
        descriptors::DANCU,
        descriptors::DKDN,
        descriptors::DANHMUC,
        descriptors::THUNGHIEM,
    ] {
        round_trip(&descriptors::pool(set).unwrap());
    }
}

#[test]
fn googles_own_files_round_trip() {
    let all =
        "syntax = \"proto3\"; import \"google/protobuf/any.proto\"; import \"google/protobuf/api.proto\";
        import \"google/protobuf/descriptor.proto\"; import \"google/protobuf/struct.proto\";
        import \"google/protobuf/wrappers.proto\"; import \"google/protobuf/compiler/plugin.proto\";";
    let pool = compile(&[("all.proto".to_owned(), all.to_owned())].into(), &["all.proto"]).unwrap();
    round_trip(&pool);
}

#[test]
fn comments_stay_where_they_were() {
    let pool = descriptors::pool(descriptors::DANCU).unwrap();
    let file = pool.get_file_by_name("vn/dancu/v1/citizen.proto").unwrap();
    let printed = Printer::new(&pool).print(&file);
    for (before, after) in [
        ("// Gets one citizen by personal identification number.", "  rpc GetCitizen("),
        ("// Personal identification number, 12 digits.", "  string so_dinh_danh = 1"),
        ("// Basic information about a citizen.", "message Citizen {"),
    ] {
        let lines: Vec<&str> = printed.lines().collect();
        let found = lines.windows(2).any(|pair| pair[0].trim() == before && pair[1].starts_with(after));
        assert!(found, "{before} does not stand before {after} in\n{printed}");
    }
    // And a second time.
    let sources = [(file.name().to_owned(), printed.clone())].into();
    let again = compile_beside(&sources, &[file.name()], &pool).unwrap();
    let file = again.get_file_by_name("vn/dancu/v1/citizen.proto").unwrap();
    assert_eq!(Printer::new(&again).print(&file), printed);
}

#[test]
fn what_people_read_is_reviewed() {
    let pool = compile(&generate::reviewed(), &["reviewed.proto"]).unwrap();
    let printed = Printer::new(&pool).print(&pool.get_file_by_name("reviewed.proto").unwrap());
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/reviewed.proto");
    if std::env::var_os("LIENTHONG_GOLDEN").is_some() {
        std::fs::write(golden, &printed).unwrap();
    }
    assert_eq!(printed, std::fs::read_to_string(golden).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn generated_contracts_round_trip(seed in any::<u64>()) {
        let sources = generate::contract(seed);
        let names: Vec<&str> = sources.keys().map(String::as_str).collect();
        let pool = match compile(&sources, &names) {
            Ok(pool) => pool,
            Err(error) => panic!("the generator made what does not compile: {error}\n{}", shown(&sources)),
        };
        round_trip(&pool);
    }
}

/// Prints every file, compiles what was printed, and compares. Of descriptor.proto the declarations of extension ranges
/// are words for protoc alone, which no descriptor pool keeps; every tool brings that file itself.
fn round_trip(pool: &DescriptorPool) {
    let printer = Printer::new(pool);
    let taken = |file: &FileDescriptor| file.name() != "google/protobuf/descriptor.proto";
    let sources: BTreeMap<String, String> =
        pool.files().filter(taken).map(|file| (file.name().to_owned(), printer.print(&file))).collect();
    let names: Vec<&str> = sources.keys().map(String::as_str).collect();
    let again = match compile(&sources, &names) {
        Ok(again) => again,
        Err(error) => panic!("what was printed does not compile: {error:?}\n{}", shown(&sources)),
    };
    for name in names {
        let before = without_places(pool, &pool.get_file_by_name(name).unwrap());
        let after = without_places(pool, &again.get_file_by_name(name).unwrap());
        assert_eq!(before, after, "{}", sources[name]);
    }
}

/// The descriptors of a file but for the places in its source.
fn without_places(pool: &DescriptorPool, file: &FileDescriptor) -> DynamicMessage {
    let name = "google.protobuf.FileDescriptorProto";
    let words = pool.get_message_by_name(name).or_else(|| DescriptorPool::global().get_message_by_name(name));
    let mut message = DynamicMessage::decode(words.unwrap(), file.encode_to_vec().as_slice()).unwrap();
    message.clear_field_by_name("source_code_info");
    message
}

fn compile(sources: &BTreeMap<String, String>, files: &[&str]) -> Result<DescriptorPool, protox::Error> {
    compile_beside(sources, files, &DescriptorPool::new())
}

fn compile_beside(
    sources: &BTreeMap<String, String>,
    files: &[&str],
    others: &DescriptorPool,
) -> Result<DescriptorPool, protox::Error> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources(sources.clone()));
    resolver.add(Compiled(others.clone()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files)?;
    Ok(DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap())
}

struct Sources(BTreeMap<String, String>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(source) => File::from_source(name, source),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

struct Compiled(DescriptorPool);

impl FileResolver for Compiled {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get_file_by_name(name) {
            Some(file) => Ok(File::decode_file_descriptor_proto(file.encode_to_vec().as_slice()).unwrap()),
            None => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn shown(sources: &BTreeMap<String, String>) -> String {
    sources.iter().flat_map(|(name, source)| ["--- ", name, "\n", source, "\n"]).collect()
}
