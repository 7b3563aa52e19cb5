//! Who is in the group. rdkafka lists the members of groups of the classic protocol alone; librdkafka's DescribeConsumerGroups,
//! which it does not offer, tells those of both protocols (KIP-848 has the other).

use std::ffi::{CStr, CString};
use std::ptr::null_mut;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::client::{Client, ClientContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;

use super::native::Owned;

fn refused(code: RDKafkaRespErr) -> KafkaResult<()> {
    match code {
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(KafkaError::GroupListFetch(code.into())),
    }
}

/// Asks the brokers for the client ids of a group's members, one each, whichever protocol the group has. A group that they do not
/// know has none.
///
/// # Errors
/// When the brokers do not answer within `limit`, or refuse to.
pub fn members<C: ClientContext>(
    client: &Client<C>,
    group: &str,
    limit: Duration,
) -> KafkaResult<Vec<String>> {
    let none = || KafkaError::GroupListFetch(Code::Fail);
    let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let (group, client) = (CString::new(group)?, client.native_ptr());
    // SAFETY: `client` lives for the whole call. What librdkafka makes is checked not to be null and destroyed once, the event
    // after the last use of what it lends: its result, the groups and their members.
    unsafe {
        let queue = Owned::new(native::rd_kafka_queue_new(client), native::rd_kafka_queue_destroy);
        let queue = queue.ok_or_else(none)?;
        let operation = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
        let options = native::rd_kafka_AdminOptions_new(client, operation);
        let options = Owned::new(options, native::rd_kafka_AdminOptions_destroy).ok_or_else(none)?;
        refused(native::rd_kafka_AdminOptions_set_request_timeout(options.get(), limit, null_mut(), 0))?;
        native::rd_kafka_DescribeConsumerGroups(client, &mut group.as_ptr(), 1, options.get(), queue.get());
        let event =
            Owned::new(native::rd_kafka_queue_poll(queue.get(), limit), native::rd_kafka_event_destroy);
        let event = event.ok_or(KafkaError::GroupListFetch(Code::OperationTimedOut))?;
        refused(native::rd_kafka_event_error(event.get()))?;
        let result = native::rd_kafka_event_DescribeConsumerGroups_result(event.get());
        if result.is_null() {
            return Err(none());
        }
        let mut count = 0;
        let groups = native::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        let mut found = Vec::new();
        for at in 0..count {
            let described = *groups.add(at);
            match native::rd_kafka_error_code(native::rd_kafka_ConsumerGroupDescription_error(described)) {
                RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND => continue,
                code => refused(code)?,
            }
            for at in 0..native::rd_kafka_ConsumerGroupDescription_member_count(described) {
                let member = native::rd_kafka_ConsumerGroupDescription_member(described, at);
                let id = native::rd_kafka_MemberDescription_client_id(member);
                if !id.is_null() {
                    found.push(CStr::from_ptr(id).to_string_lossy().into_owned());
                }
            }
        }
        Ok(found)
    }
}
