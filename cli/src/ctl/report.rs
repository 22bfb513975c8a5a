//! Tables of `list` and `status`.

use super::answer::{Lhca, Port, Qp0, State, Uplink};
use crate::show::table::draw;

/// Returns the partitions, one a line.
pub(super) fn list(state: &State) -> String {
    let header = ["NAME", "PARTITION", "IMAGE", "QP0", "MEMORY", "STARTS", "ACTIVE PORTS", "LAST END"];
    let row = |lhca: &Lhca| {
        let active = lhca.ports.iter().filter(|port| port.state == "Active").count();
        let [image, qp0, memory, starts] = match &lhca.program {
            Some(program) => {
                let starts = program.starts.to_string();
                [program.image.clone(), program.qp0.clone(), format!("{}M", program.memory), starts]
            }
            None => [(); 4].map(|()| "-".into()),
        };
        let active = format!("{active} of {}", lhca.ports.len());
        let because = lhca.because.clone().unwrap_or_default();
        [lhca.name.clone(), lhca.partition.clone(), image, qp0, memory, starts, active, because]
    };
    let rows: Vec<_> = state.lhcas.iter().map(row).collect();
    format!("{}\n{}", heading(state), draw(header, header.len(), &rows))
}

/// Returns the logical ports, one a line.
pub(super) fn status(state: &State) -> String {
    let header = ["PORT", "NAME", "GUID", "LID", "STATE", "PARTITION", "WHY NOT ACTIVE"];
    let row = |(lhca, port): (&Lhca, &Port)| {
        [
            format!("{}/{}", port.at.0, port.at.1),
            lhca.name.clone(),
            port.guid.clone(),
            port.lid.to_string(),
            port.state.clone(),
            lhca.partition.clone(),
            port.because.clone().unwrap_or_default(),
        ]
    };
    let ports = state.lhcas.iter().flat_map(|lhca| lhca.ports.iter().map(move |port| (lhca, port)));
    let rows: Vec<_> = ports.map(row).collect();
    format!("{}\n{}{}", heading(state), qp0(state), draw(header, header.len(), &rows))
}

/// Describes the traffic of the queue pair 0 of each physical port, one a line.
fn qp0(state: &State) -> String {
    let line = |uplink: &Uplink| {
        let Qp0 { received, looped_back, routed_out, answered, delivered } = uplink.qp0.as_ref()?;
        Some(format!(
            "QP0 of uplink {}: {received} SMPs received, {looped_back} looped back, {routed_out} routed out, \
             {answered} answered, {delivered} delivered\n",
            uplink.number
        ))
    };
    state.uplinks.iter().filter_map(line).collect()
}

fn heading(state: &State) -> String {
    let uplink = |uplink: &Uplink| {
        let link = if uplink.is_up { uplink.state.as_str() } else { "without a link" };
        format!("uplink {} {link}, logical switch {} LID {}", uplink.number, uplink.guid, uplink.lid)
    };
    let uplinks: Vec<_> = state.uplinks.iter().map(uplink).collect();
    format!("{}: {}", state.hypervisor, uplinks.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let list = [
            "partition running starts 3 memory 2 image echo qp0 none name web",
            "port 1 at 1/2 guid 0x026fb8f2d5000101 lid 4 state Active cable in",
            "partition ended starts 1 memory 16 image hostile qp0 query name probe",
            "because crashed: triple fault",
            "port 1 at 1/3 guid 0x026fb8f2d5000201 lid 0 state Down cable out",
            "partition none qp0 none name adapter",
            "port 1 at 1/4 guid 0x0200000000001001 lid 17 state Active cable in",
        ];
        let status = [
            "uplink 1 link up state Active switch 0x026fb8f2d5ffff00 lid 3",
            "qp0 uplink 1 received 120 looped-back 4 routed-out 3 answered 99 delivered 7",
        ];
        State::read("portico-0", &list.map(str::to_owned), &status.map(str::to_owned)).unwrap()
    }

    #[test]
    fn list_has_a_line_for_each_partition() {
        let expected = "\
portico-0: uplink 1 Active, logical switch 0x026fb8f2d5ffff00 LID 3
NAME     PARTITION  IMAGE    QP0    MEMORY  STARTS  ACTIVE PORTS  LAST END
web      running    echo     none   2M      3       1 of 1
probe    ended      hostile  query  16M     1       0 of 1        crashed: triple fault
adapter  none       -        -      -       -       1 of 1";
        assert_eq!(list(&state()), expected);
    }

    #[test]
    fn status_has_a_reason_for_each_inactive_port() {
        let expected = "\
portico-0: uplink 1 Active, logical switch 0x026fb8f2d5ffff00 LID 3
QP0 of uplink 1: 120 SMPs received, 4 looped back, 3 routed out, 99 answered, 7 delivered
PORT  NAME     GUID                LID  STATE   PARTITION  WHY NOT ACTIVE
1/2   web      0x026fb8f2d5000101  4    Active  running
1/3   probe    0x026fb8f2d5000201  0    Down    ended      its partition crashed: triple fault: ctl restart probe
1/4   adapter  0x0200000000001001  17   Active  none";
        assert_eq!(status(&state()), expected);
    }
}
