//! A person's browser at the console: HTTP/2 over TLS 1.3 with his certificate.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use lienthong::client::{self, ClientProfile};
use lienthong_certs::Credentials;
use lienthong_certs::judge::{Branch, Judge, Profile, RevocationLists, TrustAnchors};
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, SharedMaterial, TlsMaterial};

use crate::TestMesh;

/// A connection to the console, as one person.
pub type Browser = Channel<Full<Bytes>>;

/// A browser that shows the certificate of a profile.
pub fn browser(mesh: &TestMesh, profile: &str) -> Result<Browser> {
    let layout = &mesh.mesh.layout;
    let ClientProfile { certificate, key, trust, .. } =
        client::profile(layout.profiles.get(profile).context("nobody is called so")?)?;
    let files: Vec<_> = trust.into_iter().map(|path| (Branch::State, path)).collect();
    let judge = Judge::new(TrustAnchors::load(&files)?, RevocationLists::empty(), Profile::development())?;
    let material = TlsMaterial::new(Credentials::open(&certificate, &key)?, judge)?;
    let endpoint = Endpoint::Mesh {
        address: layout.gateway.as_ref().context("there is no gateway")?.console.to_string(),
        server_name: Some("console.demo.invalid".to_owned()),
        material: SharedMaterial::new(material),
    };
    Ok(Channel::new(endpoint, ChannelOptions::new(Connections::new())))
}

/// A page: its status and its text. The headers that every answer carries are there.
pub async fn get(browser: &Browser, path: &str) -> Result<(StatusCode, String)> {
    let request = Request::get(path).body(Full::default())?;
    let response = browser.send(request).await?;
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")] {
        ensure!(response.headers().get(name).is_some_and(|held| held == value), "{path} lacks {name}");
    }
    let policy = response.headers().get(header::CONTENT_SECURITY_POLICY).context("no content policy")?;
    ensure!(policy.to_str()?.starts_with("default-src 'none'"), "{policy:?}");
    let status = response.status();
    Ok((status, String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?))
}

/// Sends a form.
pub async fn post(browser: &Browser, path: &str, form: String) -> Result<StatusCode> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(form))?;
    Ok(browser.send(request).await?.status())
}
