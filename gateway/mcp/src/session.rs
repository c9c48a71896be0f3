//! One conversation with a server: hello in either era of the protocol, its tools, one call. Offers the server nothing: no
//! model, no questions to the user, no roots.

use openclaw_wire::{
    mcp::{Ask, Offered, TOOLS},
    runner::Answer,
};
use rmcp::{
    ClientLifecycleMode, ClientServiceExt as _, Peer, RoleClient, ServiceError,
    model::{
        CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation,
        PaginatedRequestParams, ProtocolVersion, Tool,
    },
    transport::async_rw::AsyncRwTransport,
};
use serde_json::Value;
use tokio::net::unix::pipe;

use crate::content;

/// One message of the server, in bytes: the largest output that a manifest can allow. A longer one is dropped unread.
const LINE: usize = 8 << 20;
/// Pages of a list of tools.
const PAGES: usize = 32;

/// Asks one thing. An error is why there was no conversation at all; what the server answers, errors too, is an answer.
pub async fn ask(ask: Ask, output: pipe::Receiver, input: pipe::Sender) -> Result<Answer, String> {
    let transport = AsyncRwTransport::new_client(output, input).with_max_line_length(LINE);
    let us = ClientConfig::new(
        ClientCapabilities::default(),
        Implementation::new("openclaw", env!("CARGO_PKG_VERSION")),
    );
    // 2026-07-28 begins with `server/discover`, everything before it with `initialize`; a server of the old kind answers
    // the first with an error and gets the second.
    let eras = ClientLifecycleMode::Auto {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        legacy_version: Some(ProtocolVersion::V_2025_11_25),
    };
    let session = us
        .serve_with_lifecycle(transport, eras)
        .await
        .map_err(|error| format!("the MCP server did not answer as one: {error}"))?;
    let answer = match ask {
        Ask::Tools => tools(session.peer()).await.map(Answer::Tools),
        Ask::Call { tool, definition, arguments } => call(session.peer(), tool, &definition, arguments).await,
    };
    // Closes the server's input. Whatever goes wrong in it, the answer is there.
    let _ended = session.cancel().await;
    answer
}

/// Every tool, of every page.
async fn tools(server: &Peer<RoleClient>) -> Result<Vec<Offered>, String> {
    let (mut all, mut cursor) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = PaginatedRequestParams::default().with_cursor(cursor);
        let page = server.list_tools(Some(page)).await.map_err(|error| said(&error))?;
        all.extend(page.tools.into_iter().map(offered));
        if all.len() > TOOLS {
            return Err(format!("the MCP server offers more than {TOOLS} tools"));
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
    Err(format!("the MCP server's list of tools has more than {PAGES} pages"))
}

async fn call(
    server: &Peer<RoleClient>,
    tool: String,
    definition: &str,
    arguments: Value,
) -> Result<Answer, String> {
    let offered = tools(server).await?.into_iter().find(|offered| offered.name == tool);
    match offered {
        Some(offered) if offered.digest() == definition => {}
        Some(_) => return Ok(Answer::Changed(format!("its tool {tool:?} is described otherwise now"))),
        None => return Ok(Answer::Changed(format!("its tool {tool:?} is not offered any more"))),
    }
    let mut request = CallToolRequestParams::new(tool);
    if let Value::Object(arguments) = arguments {
        request = request.with_arguments(arguments);
    }
    match server.call_tool_once(request).await {
        Ok(CallToolResponse::Complete(result)) => Ok(content::answer(result)),
        Ok(CallToolResponse::InputRequired(_)) => Ok(Answer::Error(
            "the MCP server wants to ask the user something in the middle of a call, which no skill can here"
                .into(),
        )),
        Ok(_) => Ok(Answer::Error(
            "the MCP server wants to go on after the call has ended, which no skill can here".into(),
        )),
        Err(ServiceError::McpError(error)) => Ok(Answer::Error(error.message.into_owned())),
        Err(error) => Err(said(&error)),
    }
}

fn offered(tool: Tool) -> Offered {
    let description = match (tool.title, tool.description) {
        (_, Some(description)) => description.into_owned(),
        (title, None) => title.unwrap_or_default(),
    };
    Offered {
        name: tool.name.into_owned(),
        description,
        schema: Value::Object(tool.input_schema.as_ref().clone()),
    }
}

fn said(error: &ServiceError) -> String {
    format!("the MCP server: {error}")
}
