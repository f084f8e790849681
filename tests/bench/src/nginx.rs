//! Contestant c, one of its two proxies: nginx as an operator would set it up between two agencies, with client
//! certificates on both sides and an access log. No policy, no proof: the log is a text file of its own machine.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::contestant::{Site, text};
use crate::pki::{Pki, Role, SERVER_NAME};
use crate::process::{Process, Stdout};
use crate::threads::cores;

/// The program, where it is not in the path.
const PROGRAM: &str = "/usr/sbin/nginx";
/// Idle connections to the next hop that a worker keeps: nginx sends one call at a time over each.
const KEPT_CONNECTIONS: usize = 512;

/// Starts the program given as `$0` with the configuration `$2` in the folder `$1`, and ends it when stdin closes.
const SUPERVISED: &str = r#""$0" -p "$1" -c "$2" & read -r nothing; kill -TERM $!; wait"#;

/// Starts nginx that plays `role` before `upstream` and listens at `listen`.
pub async fn start(
    site: &Site,
    role: Role,
    name: &str,
    listen: SocketAddr,
    upstream: SocketAddr,
) -> anyhow::Result<Process> {
    let folder = site.data.join(name);
    fs::create_dir(&folder)?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, configuration_of(&Pki::open(&site.pki)?, &folder, role, listen, upstream)?)?;
    let arguments =
        ["-c", SUPERVISED, text(&program()?)?, text(&folder)?, text(&configuration)?].map(str::to_owned);
    let mut nginx = Process::start(name, Path::new("sh"), arguments, &site.data, Stdout::Log)?;
    nginx.ready(async || tokio::net::TcpStream::connect(listen).await.is_ok()).await?;
    Ok(nginx)
}

/// Where nginx is.
pub fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let everywhere = std::env::split_paths(&path).map(|folder| folder.join("nginx"));
    everywhere.chain([PathBuf::from(PROGRAM)]).find(|program| program.is_file()).context(
        "nginx is missing: install the package nginx-light of Debian, or leave c out (--only a,b,g,d)",
    )
}

fn configuration_of(
    pki: &Pki,
    folder: &Path,
    role: Role,
    listen: SocketAddr,
    upstream: SocketAddr,
) -> anyhow::Result<String> {
    let issued = pki.issued(role)?;
    let (certificate, key) = (text(&issued.certificate)?, text(&issued.key)?);
    let authority = pki.authority()?;
    let (authority, folder, workers) = (text(&authority)?, text(folder)?, cores());
    Ok(format!(
        r#"daemon off;
worker_processes {workers};
pid "{folder}/pid";
error_log "{folder}/error.log" warn;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log "{folder}/access.log" combined buffer=64k flush=1s;
  client_body_temp_path "{folder}/body"; proxy_temp_path "{folder}/proxy"; fastcgi_temp_path "{folder}/fastcgi";
  uwsgi_temp_path "{folder}/uwsgi"; scgi_temp_path "{folder}/scgi";
  keepalive_timeout 1h; keepalive_requests 1000000000; http2_max_concurrent_streams 4096;
  upstream next {{
    server {upstream};
    keepalive {KEPT_CONNECTIONS}; keepalive_requests 1000000000; keepalive_timeout 1h;
  }}
  server {{
    listen {listen} ssl http2 backlog=1024;
    ssl_protocols TLSv1.3; ssl_certificate "{certificate}"; ssl_certificate_key "{key}";
    ssl_client_certificate "{authority}"; ssl_verify_client on; ssl_verify_depth 4;
    client_max_body_size 0;
    location / {{
      grpc_pass grpcs://next; grpc_buffer_size 64k; grpc_ssl_protocols TLSv1.3; grpc_ssl_name {SERVER_NAME};
      grpc_ssl_server_name on; grpc_ssl_certificate "{certificate}"; grpc_ssl_certificate_key "{key}";
      grpc_ssl_verify on; grpc_ssl_verify_depth 4; grpc_ssl_trusted_certificate "{authority}";
    }}
  }}
}}
"#
    ))
}
