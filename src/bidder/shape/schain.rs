//! The supply chain with our node at its end.
//!
//! Owns: the text of the chain and of the node. The rule stands in `shape`.

use crate::bidder::splice::write_string;
use crate::partner::SchainNode;
use crate::request::{Key, ValidRequest};

/// Writes the whole value of `schain`; `None` where the chain is at its limit.
pub fn write(
    request: &ValidRequest,
    node: &SchainNode,
    nodes_max: u32,
    out: &mut Vec<u8>,
) -> Option<()> {
    let objects = &request.view.objects;
    if let (Some(chain), Some((array, count))) = (objects.schain, objects.schain_nodes) {
        if count >= nodes_max {
            return None;
        }
        let bytes = request.bytes();
        let bracket = (array.end as usize).checked_sub(1)?;
        out.extend_from_slice(bytes.get(chain.open as usize..bracket)?);
        if count > 0 {
            out.push(b',');
        }
        write_node(request, node, out);
        out.extend_from_slice(bytes.get(bracket..=chain.close as usize)?);
        return Some(());
    }
    if nodes_max == 0 {
        return None;
    }
    out.extend_from_slice(b"{\"ver\":\"1.0\",\"complete\":");
    out.push(if node.is_owner { b'1' } else { b'0' });
    out.extend_from_slice(b",\"nodes\":[");
    write_node(request, node, out);
    out.extend_from_slice(b"]}");
    Some(())
}

fn write_node(request: &ValidRequest, node: &SchainNode, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"asi\":");
    write_string(&node.asi, out);
    out.extend_from_slice(b",\"sid\":");
    write_string(&node.sid, out);
    out.extend_from_slice(b",\"rid\":");
    let id = request.member(&request.view.objects.root, Key::Id);
    match id.map(|member| request.value(member)) {
        // A string goes as it stands in the request.
        Some(text @ [b'"', ..]) => out.extend_from_slice(text),
        _ => write_string(request.text(request.view.id), out),
    }
    out.extend_from_slice(if node.is_paid { b",\"hp\":1}" } else { b",\"hp\":0}" });
}
