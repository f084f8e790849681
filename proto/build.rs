//! Compiles every `.proto` file with `protox`, so that nobody needs `protoc`: once into Rust,
//! and once into descriptor sets that keep the dataset options.

use std::{env, error::Error, fs, path::PathBuf};

/// The mesh's own contracts.
const MESH: &[&str] = &[
    "lienthong/options/v1/vocabulary.proto",
    "lienthong/options/v1/reason.proto",
    "lienthong/options/v1/options.proto",
    "lienthong/control/v1/rights.proto",
    "lienthong/control/v1/status.proto",
    "lienthong/registry/v1/registry.proto",
    "lienthong/registry/v1/enrollment.proto",
    "lienthong/registry/v1/duty.proto",
    "lienthong/registry/v1/holdings.proto",
    "lienthong/catalog/v1/catalog.proto",
    "lienthong/catalog/v1/change.proto",
    "lienthong/catalog/v1/decision.proto",
    "lienthong/compliance/v1/compliance.proto",
    "lienthong/audit/v1/record.proto",
    "lienthong/audit/v1/audit.proto",
    "lienthong/audit/v1/findings.proto",
    "lienthong/audit/v1/log.proto",
    "lienthong/audit/v1/search.proto",
    "lienthong/exchange/v1/call.proto",
    "lienthong/node/v1/diagnosis.proto",
];

/// The sample agencies' contracts, each a descriptor set of its own.
const SAMPLES: &[(&str, &str)] = &[
    ("dancu", "samples/vn/dancu/v1/citizen.proto"),
    ("dkdn", "samples/vn/dkdn/v1/enterprise.proto"),
    ("danhmuc", "samples/vn/danhmuc/v1/administrative_unit.proto"),
    ("thunghiem", "samples/vn/thunghiem/v1/trial.proto"),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=lienthong");
    println!("cargo::rerun-if-changed=samples");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut all = compiler()?;
    all.open_files(MESH)?.open_files(SAMPLES.iter().map(|(_, path)| path))?;
    tonic_prost_build::configure()
        .bytes(".lienthong.audit.v1.BatchItem")
        .bytes(".lienthong.control.v1.Contract")
        .bytes(".vn.thunghiem.v1.Record")
        .build_transport(false)
        .compile_fds(all.file_descriptor_set())?;

    let mut mesh = compiler()?;
    mesh.open_files(MESH)?;
    fs::write(out.join("mesh.binpb"), mesh.encode_file_descriptor_set())?;
    for (name, path) in SAMPLES {
        let mut sample = compiler()?;
        sample.open_file(path)?;
        fs::write(out.join(format!("{name}.binpb")), sample.encode_file_descriptor_set())?;
    }
    Ok(())
}

fn compiler() -> Result<protox::Compiler, protox::Error> {
    let mut compiler = protox::Compiler::new(["samples", "."])?;
    compiler.include_imports(true).include_source_info(true);
    Ok(compiler)
}
