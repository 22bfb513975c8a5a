//! The LHCA: hypercalls on it.

use iba::{Guid, PKey, PortNum};
use lhca_contract::{
    Call, Exits, Handle, HcaAttributes, MemoryRegion, PortAttributes, PortChange, Status, VERSION, cpuid,
};
use zerocopy::{FromZeros, IntoBytes};

use crate::error::{CallError, ProbeError};
use crate::platform::Platform;
use crate::ring::Told;

/// CPUID leaf 1, ECX: this processor is a hypervisor's.
const HYPERVISOR_PRESENT: u32 = 1 << 31;

/// A partition's LHCA.
#[derive(Debug)]
pub struct Lhca<P> {
    platform: P,
}

impl<P: Platform> Lhca<P> {
    /// Finds the hypervisor.
    ///
    /// # Errors
    /// [`ProbeError`] says why it is not there.
    pub fn probe(platform: P) -> Result<Self, ProbeError> {
        let [_, _, features, _] = platform.cpuid(1);
        let [last, ebx, ecx, edx] = platform.cpuid(cpuid::SIGNATURE_LEAF);
        let signature = [ebx, ecx, edx];
        if features & HYPERVISOR_PRESENT == 0 || signature.as_bytes() != cpuid::SIGNATURE || last < cpuid::VERSION_LEAF
        {
            return Err(ProbeError::NoHypervisor);
        }
        let [version, ..] = platform.cpuid(cpuid::VERSION_LEAF);
        if version >> 16 != VERSION >> 16 {
            return Err(ProbeError::Version(version));
        }
        Ok(Self { platform })
    }

    /// The machine.
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// The LHCA and its limits.
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn attributes(&self) -> Result<HcaAttributes, CallError> {
        let mut attributes = HcaAttributes::new_zeroed();
        let address = self.address_mut(&mut attributes);
        self.call(Call::QUERY_HCA, [address, 0, 0])?;
        Ok(attributes)
    }

    /// A port as it is.
    ///
    /// # Errors
    /// The hypervisor refused: for one because there is no such port.
    pub fn port(&self, port: PortNum) -> Result<PortAttributes, CallError> {
        let mut attributes = PortAttributes::new_zeroed();
        let address = self.address_mut(&mut attributes);
        self.call(Call::QUERY_PORT, [port.get().into(), address, 0])?;
        Ok(attributes)
    }

    /// Says whether a subnet manager runs here, behind `port`.
    ///
    /// # Errors
    /// The hypervisor refused: for one because the partition's policy does not allow it.
    pub fn set_is_sm(&self, port: PortNum, is_sm: bool) -> Result<(), CallError> {
        self.call(Call::MODIFY_PORT, [port.get().into(), PortChange::IS_SM.0, is_sm.into()])?;
        Ok(())
    }

    /// The P_Key at `index` of a port's table.
    ///
    /// # Errors
    /// The hypervisor refused: there is no such port or index.
    pub fn p_key(&self, port: PortNum, index: u16) -> Result<PKey, CallError> {
        let value = self.call(Call::QUERY_P_KEY, [port.get().into(), index.into(), 0])?;
        Ok(PKey::new((value & 0xffff) as u16))
    }

    /// The GUID at `index` of a port's table.
    ///
    /// # Errors
    /// The hypervisor refused: there is no such port or index.
    pub fn guid(&self, port: PortNum, index: u16) -> Result<Guid, CallError> {
        self.call(Call::QUERY_GUID, [port.get().into(), index.into(), 0]).map(Guid::new)
    }

    /// Registers memory, and gives its L_Key for segments.
    ///
    /// # Errors
    /// The hypervisor refused: the memory is not the partition's, or too much is registered.
    pub fn register(&self, region: &MemoryRegion) -> Result<u32, CallError> {
        let value = self.call(Call::REGISTER_MEMORY, [self.address(region), 0, 0])?;
        u32::try_from(value).map_err(|_| CallError { call: Call::REGISTER_MEMORY, status: Status::BAD_ARGUMENT })
    }

    /// Takes a registration back.
    ///
    /// # Errors
    /// The hypervisor refused: there is no such L_Key.
    pub fn deregister(&self, l_key: u32) -> Result<(), CallError> {
        self.call(Call::DEREGISTER_MEMORY, [l_key.into(), 0, 0])?;
        Ok(())
    }

    /// Nanoseconds since the hypervisor started.
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn time(&self) -> Result<u64, CallError> {
        self.call(Call::TIME, [0; 3])
    }

    /// Asks for the interrupt `vector` once [`Self::time`] has come to `time`, and not when it was asked for before;
    /// with vector 0 for none.
    ///
    /// # Errors
    /// The hypervisor refused: vectors begin at 32.
    pub fn set_timer(&self, time: u64, vector: u8) -> Result<(), CallError> {
        self.call(Call::SET_TIMER, [time, vector.into(), 0])?;
        Ok(())
    }

    /// Returns the number of VM exits since the partition's start, this call included.
    ///
    /// # Errors
    /// The hypervisor refused: for one because it is of version 1.0.
    pub fn exits(&self) -> Result<Exits, CallError> {
        let mut exits = Exits::new_zeroed();
        self.call(Call::QUERY_EXITS, [self.address_mut(&mut exits), 0, 0])?;
        Ok(exits)
    }

    /// Says something on the hypervisor's console; gives the bytes that it took.
    ///
    /// # Errors
    /// The hypervisor refused.
    pub fn console(&self, text: &str) -> Result<u64, CallError> {
        self.call(Call::CONSOLE, [self.platform.physical(text.as_ptr()), text.len() as u64, 0])
    }

    /// Ends the partition. Returns only where the hypervisor refuses.
    pub fn exit(&self, code: u64) -> CallError {
        let (status, _) = self.platform.call(Call::EXIT, [code, 0, 0]);
        CallError { call: Call::EXIT, status }
    }

    /// Makes a hypercall.
    #[inline]
    pub(crate) fn call(&self, call: Call, arguments: [u64; 3]) -> Result<u64, CallError> {
        match self.platform.call(call, arguments) {
            (Status::OK, value) => Ok(value),
            (status, _) => Err(CallError { call, status }),
        }
    }

    /// Rings for `handle` where the hypervisor asked for it.
    #[inline]
    pub(crate) fn tell(&self, told: Told, handle: Handle) {
        if told == Told::Ring {
            // A bell for what the hypervisor has destroyed meanwhile does no harm.
            let _ = self.call(Call::DOORBELL, [handle.0.into(), 0, 0]);
        }
    }

    pub(crate) fn address<T>(&self, value: &T) -> u64 {
        self.platform.physical(core::ptr::from_ref(value).cast())
    }

    pub(crate) fn address_mut<T>(&self, value: &mut T) -> u64 {
        self.platform.physical(core::ptr::from_mut(value).cast_const().cast())
    }

    pub(crate) fn ring_address(&self, start: *const u8) -> u64 {
        self.platform.physical(start)
    }
}
