//! Handles that name nothing of this partition, or nothing that a call is for.

use lhca_contract::{Access, Call, Handle, MemoryRegion, MulticastGroup, QueueConfig, QueuePairConfig, Status};
use zerocopy::IntoBytes;

use super::error::Error;
use super::machine::Machine;
use super::queues::{EVENTS, Queues};

/// Kinds of what a partition creates: places of an [`Objects`].
const COMPLETION_QUEUE: usize = 0;
const QUEUE_PAIR: usize = 1;
const EVENT_QUEUE: usize = 2;
const REGION: usize = 3;

/// One of each kind.
type Objects = [Handle; 4];

/// Calls that take a handle, and of which kinds.
const TAKES: [(Call, &[usize]); 9] = [
    (Call::DESTROY_COMPLETION_QUEUE, &[COMPLETION_QUEUE]),
    (Call::DESTROY_EVENT_QUEUE, &[EVENT_QUEUE]),
    (Call::DESTROY_QUEUE_PAIR, &[QUEUE_PAIR]),
    (Call::MODIFY_QUEUE_PAIR, &[QUEUE_PAIR]),
    (Call::QUERY_QUEUE_PAIR, &[QUEUE_PAIR]),
    (Call::ATTACH_MULTICAST, &[QUEUE_PAIR]),
    (Call::DETACH_MULTICAST, &[QUEUE_PAIR]),
    (Call::DEREGISTER_MEMORY, &[REGION]),
    (Call::DOORBELL, &[COMPLETION_QUEUE, QUEUE_PAIR, EVENT_QUEUE]),
];

/// Every call that takes a handle, with every strange one, which is refused each time; our own are there all the same.
pub(super) fn handles(machine: &mut Machine) -> Result<(), Error> {
    let mut queues = Queues::open(machine)?;
    // Others' first ones have the same names as ours; so ours are to be the second ones.
    let first = complete(&mut queues);
    destroy(&mut queues, &first)?;
    queues.completions = queues.create_completions();
    queues.create_pair();
    let own = complete(&mut queues);
    let flipped = own.into_iter().flat_map(|own| (0..u64::BITS).map(move |bit| u64::from(own.0) ^ 1 << bit));
    let known = first.into_iter().chain(own).map(|handle| handle.0.into());
    for handle in flipped.chain(known).chain([0, u64::MAX]) {
        let is = |kind: &usize| handle == u64::from(own[*kind].0);
        for (call, kinds) in TAKES {
            if !kinds.iter().any(is) {
                refuse(&mut queues, call, handle)?;
            }
        }
        match u32::try_from(handle) {
            Ok(handle) if !is(&COMPLETION_QUEUE) => complete_at(&mut queues, Handle(handle))?,
            _ => {}
        }
    }
    destroy(&mut queues, &own)?;
    queues.tell();
    Ok(())
}

/// Objects that exist, and kinds that are missing.
fn complete(queues: &mut Queues<'_>) -> Objects {
    let config = QueueConfig { ring: queues.scratch.address(EVENTS), log_entries: 1, vector: 0, reserved: [0; 6] };
    let events = Handle(queues.call_with(Call::CREATE_EVENT_QUEUE, None, config.as_bytes()) as u32);
    let (address, length, access) = (0, 4096, Access::LOCAL_WRITE);
    let region = MemoryRegion { address, length, physical: queues.scratch.address(0), access, reserved: 0 };
    let region = Handle(queues.call_with(Call::REGISTER_MEMORY, None, region.as_bytes()) as u32);
    [queues.completions, queues.pair, events, region]
}

/// Destroys what is there, as who made it may.
fn destroy(queues: &mut Queues<'_>, own: &Objects) -> Result<(), Error> {
    let calls = [
        (Call::DESTROY_QUEUE_PAIR, QUEUE_PAIR),
        (Call::DESTROY_COMPLETION_QUEUE, COMPLETION_QUEUE),
        (Call::DESTROY_EVENT_QUEUE, EVENT_QUEUE),
        (Call::DEREGISTER_MEMORY, REGION),
    ];
    for (call, kind) in calls {
        queues.expect(Status::OK, call, [own[kind].0.into(), 0, 0])?;
    }
    Ok(())
}

fn refuse(queues: &mut Queues<'_>, call: Call, handle: u64) -> Result<(), Error> {
    let group = match call {
        Call::ATTACH_MULTICAST | Call::DETACH_MULTICAST => {
            MulticastGroup { gid: platform::group::GROUP, lid: iba::Lid::new(0xc000), reserved: [0; 6] }
        }
        _ => MulticastGroup::default(),
    };
    let address = queues.argument(group.as_bytes());
    queues.expect(Status::BAD_HANDLE, call, [handle, address, 0])
}

/// A queue pair that completes at a queue with this handle.
fn complete_at(queues: &mut Queues<'_>, strange: Handle) -> Result<(), Error> {
    let own = queues.pair_config();
    for config in
        [QueuePairConfig { send_completions: strange, ..own }, QueuePairConfig { receive_completions: strange, ..own }]
    {
        let address = queues.argument(config.as_bytes());
        queues.expect(Status::BAD_HANDLE, Call::CREATE_QUEUE_PAIR, [address, 0, 0])?;
    }
    Ok(())
}
