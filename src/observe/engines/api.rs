//! The calls to an engine's API, each within the time that is left.

use super::convert;
use crate::observe::{ContainerState, Engine, EngineState, Warning};
use bollard::errors::Error;
use bollard::models::ContainerSummary;
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use std::future::Future;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Fills `answer` and tells how it went.
pub fn ask(
    path: &Path,
    limit: Duration,
    version: bool,
    answer: &mut Engine,
    warnings: &mut Vec<Warning>,
) -> EngineState {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return EngineState::Failed(format!("no event loop: {error}")),
    };
    let state = runtime.block_on(async {
        match talk(path, Instant::now() + limit, version, answer, warnings).await {
            Ok(()) => EngineState::Answered,
            Err(state) => state,
        }
    });
    // A connection that hangs must not hold up the end.
    runtime.shutdown_background();
    state
}

async fn talk(
    path: &Path,
    deadline: Instant,
    version: bool,
    answer: &mut Engine,
    warnings: &mut Vec<Warning>,
) -> Result<(), EngineState> {
    let path = path.to_str().ok_or_else(|| EngineState::Failed("its path is no text".into()))?;
    // The library asks without a version in the path: an engine answers as its own latest.
    let docker =
        Docker::connect_with_unix(path, 120, API_DEFAULT_VERSION).map_err(|e| state_of(&e))?;
    let every = ListContainersOptions { all: true, ..ListContainersOptions::default() };
    // Both at once; each has a connection of its own.
    let (first, second) = (docker.clone(), docker.clone());
    let containers = spawn(deadline, async move { first.list_containers(Some(every)).await });
    let networks = spawn(deadline, async move { second.list_networks(None).await });
    let containers = ended(containers.await)?;
    let networks = ended(networks.await)?;
    // For each of the two answers that follow Docker starts other programs, which takes as long as
    // all the rest of a plan: neither is asked for in vain.
    if version {
        answer.version = within(deadline, docker.version()).await?.version;
    }
    answer.swarm = convert::may_be_in_swarm(&networks)
        && match within(deadline, docker.info()).await {
            Ok(info) => convert::in_swarm(&info),
            // A member of a swarm has the network of its routing mesh.
            Err(_) => networks.iter().any(|network| network.ingress == Some(true)),
        };
    answer.networks =
        networks.iter().filter_map(|found| convert::network(answer.kind, found)).collect();
    answer.networks.sort_by(|a, b| a.name.cmp(&b.name));
    answer.containers = containers.iter().filter_map(convert::container).collect();
    published_by_stopped(&docker, deadline, &containers, answer, warnings).await;
    answer.containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    Ok(())
}

/// A list tells the ports of running containers alone; those of stopped ones are asked for.
async fn published_by_stopped(
    docker: &Docker,
    deadline: Instant,
    containers: &[ContainerSummary],
    answer: &mut Engine,
    warnings: &mut Vec<Warning>,
) {
    let mut unknown = 0;
    for summary in containers {
        let Some(id) = summary.id.as_deref() else { continue };
        let Some(container) = answer.containers.iter_mut().find(|c| c.id == id) else { continue };
        if container.state == ContainerState::Running {
            continue;
        }
        match within(deadline, docker.inspect_container(id, None::<InspectContainerOptions>)).await
        {
            Ok(details) => container.published = convert::configured_ports(&details),
            Err(_) => unknown += 1,
        }
    }
    if unknown > 0 {
        warnings.push(Warning {
            subject: super::subject(answer.kind).into(),
            message: format!("what {unknown} stopped containers publish could not be read"),
        });
    }
}

/// Starts a call, so that others can be started beside it.
fn spawn<T: Send + 'static>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> tokio::task::JoinHandle<Result<T, EngineState>> {
    tokio::spawn(within(deadline, call))
}

/// What a started call came to; one that panicked in the library has failed.
fn ended<T>(
    call: Result<Result<T, EngineState>, tokio::task::JoinError>,
) -> Result<T, EngineState> {
    call.unwrap_or_else(|_| Err(EngineState::Failed("the call ended early".to_owned())))
}

async fn within<T>(
    deadline: Instant,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineState> {
    match timeout_at(deadline, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(state_of(&error)),
        Err(_) => Err(EngineState::Hung),
    }
}

/// What an error says; never a piece of the answer itself.
fn state_of(error: &Error) -> EngineState {
    EngineState::Failed(match error {
        Error::DockerResponseServerError { status_code, .. } => {
            format!("status {status_code}")
        }
        Error::JsonDataError { .. }
        | Error::JsonSerdeError { .. }
        | Error::StrParseError { .. } => "its answer is no JSON that fwctl understands".to_owned(),
        Error::RequestTimeoutError => return EngineState::Hung,
        Error::SocketNotFoundError(_) => return EngineState::Absent,
        _ => "its answer is no HTTP, or was cut off".to_owned(),
    })
}
