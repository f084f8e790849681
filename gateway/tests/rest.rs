//! Paths that a contract declares, from the contract's own bytes.
#![allow(clippy::unwrap_used)] // test code

use bytes::Bytes;
use http::Method;
use lienthong_gateway::transcode::{codec, rest::Routes};
use prost_reflect::DescriptorPool;

/// The contract of one provider or several.
fn routes(providers: &[&str]) -> Routes {
    let here = env!("CARGO_MANIFEST_DIR");
    let folders = [format!("{here}/tests/proto"), format!("{here}/../proto/samples")];
    let mut compiler = protox::Compiler::new(folders).unwrap();
    compiler.include_imports(true).open_files(["units.proto"]).unwrap();
    let pool = DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap();
    let service = pool.get_service_by_name("vn.thu.v1.UnitService").unwrap();
    let of = |provider: &&str| {
        let provider = (*provider).to_owned();
        service.methods().map(move |method| (provider.clone(), method)).collect::<Vec<_>>()
    };
    Routes::of(providers.iter().flat_map(of))
}

/// The method behind a path, and the message that it is asked with.
fn asked(verb: &Method, path: &str, query: &str, body: &str) -> Result<(String, String), String> {
    let matched = routes(&["G01"]).matched(verb, path, None).unwrap().ok_or("no path")?;
    let json =
        matched.compose(query, &Bytes::copy_from_slice(body.as_bytes())).map_err(|error| error.detail)?;
    let message = codec::read(&matched.method().input(), &json).map_err(|error| error.to_string())?;
    let json = String::from_utf8(codec::write(&message).unwrap().to_vec()).unwrap();
    Ok((matched.method().name().to_owned(), json))
}

#[test]
fn path_query_and_body_make_one_message() {
    let said = |method: &str, json: &str| Ok((method.to_owned(), json.to_owned()));
    assert_eq!(asked(&Method::GET, "/v1/units/H26", "", ""), said("GetUnit", r#"{"name":"units/H26"}"#));
    assert_eq!(
        asked(&Method::GET, "/v1/units/H26", "place.level=2&fields=a&fields=b%20c&deep=true", ""),
        said("GetUnit", r#"{"name":"units/H26","place":{"level":2},"fields":["a","b c"],"deep":true}"#)
    );
    assert_eq!(
        asked(&Method::GET, "/v1/units/H26/parent/3", "", ""),
        said("GetUnit", r#"{"name":"H26","place":{"level":3}}"#)
    );
    assert_eq!(
        asked(&Method::PUT, "/v1/units/H26", "", r#"{"title":"Hà Nội"}"#),
        said("PutUnit", r#"{"unit":{"code":"H26","title":"Hà Nội"}}"#)
    );
    assert_eq!(
        asked(&Method::POST, "/v1/units:find", "", r#"{"deep":true}"#),
        said("FindUnits", r#"{"deep":true}"#)
    );
}

#[test]
fn a_field_is_said_in_one_place_and_only_what_is_declared_is_there() {
    for (verb, path, query, body, problem) in [
        (Method::GET, "/v1/units/H26", "name=x", "", "name is said twice"),
        (Method::PUT, "/v1/units/H26", "", r#"{"code":"H27"}"#, "code is said twice"),
        (
            Method::PUT,
            "/v1/units/H26",
            "",
            r#"{"title":"a","title":"b"}"#,
            "the body at line 1 is no JSON of it",
        ),
        (Method::POST, "/v1/units:find", "deep=true", "{}", "the query string must be empty"),
        (Method::GET, "/v1/units/H26", "", "{}", "this path takes no body"),
        (Method::GET, "/v1/units/H26", "nothing=1", "", "has no field"),
        (Method::GET, "/v1/units/H26", "deep=maybe", "", "must be true or false"),
        (Method::GET, "/v1/watch", "", "", "no path"),
        (Method::DELETE, "/v1/units/H26", "", "", "no path"),
    ] {
        let heard = asked(&verb, path, query, body).unwrap_err();
        assert!(heard.contains(problem), "{verb} {path}?{query}: {heard}");
    }
}

#[test]
fn of_several_providers_one_must_be_named() {
    let routes = routes(&["G01", "H26"]);
    let both = routes.matched(&Method::GET, "/v1/units/7", None).unwrap_err();
    assert_eq!(both.0, ["G01", "H26"]);
    let one = routes.matched(&Method::GET, "/v1/units/7", Some("H26")).unwrap().unwrap();
    assert_eq!(one.provider(), "H26");
}
