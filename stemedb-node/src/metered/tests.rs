use stemedb_rpc::backend::Failure;

use super::*;

/// A store whose appends take as long as they are told to, in the runtime's time.
struct Slow;

struct SlowPending(usize);

fn receipt(duplicate: bool) -> Receipt {
    Receipt { id: AssertionId([1; 32]), index: 0, time: 1, duplicate }
}

impl Pending for SlowPending {
    fn wait(self) -> Result<Vec<Receipt>, Failure> {
        if self.0 == 0 { Err(Reason::Failed.into()) } else { Ok(vec![receipt(true); self.0]) }
    }
}

impl Backend for Slow {
    type Pending = SlowPending;

    async fn append(&self, body: Vec<u8>) -> Result<Receipt, Failure> {
        tokio::time::sleep(Duration::from_millis(body.len() as u64)).await;
        if body.is_empty() { Err(Reason::Failed.into()) } else { Ok(receipt(false)) }
    }

    fn submit(&self, bodies: Vec<Vec<u8>>) -> SlowPending {
        SlowPending(bodies.iter().map(Vec::len).sum())
    }

    fn body_len_max(&self) -> usize {
        7
    }

    fn head(&self) -> Result<Head, Failure> {
        Ok(Head { count: 0, set_root: [0; 32], log_size: 0, log_root: [0; 32], last_time: 0 })
    }

    fn find(&self, which: &Which) -> Result<Entry, Failure> {
        let Which::Index(index) = *which else { return Err(Reason::NotFound.into()) };
        let id = AssertionId([1; 32]);
        Ok(Entry { id, index, time: 1, len: 0, body: None })
    }

    fn body(&self, _: &Entry) -> Result<Vec<u8>, Failure> {
        Ok(Vec::new())
    }

    fn prove(&self, _: &AssertionId) -> Result<(SetProof, Hash), Failure> {
        Err(Reason::Failed.into())
    }

    fn log_id(&self) -> LogId {
        LogId { node: [1; 16], epoch: 1 }
    }

    fn entries(&self, _: u64, _: &EntriesWanted) -> Result<Vec<Entry>, Failure> {
        Ok(Vec::new())
    }

    async fn grown(&self, _: u64) -> bool {
        false
    }
}

#[tokio::test]
async fn what_appends_take_is_noted() {
    let metered = Metered::new(Arc::new(Slow), Metrics::new());
    assert_eq!(metered.append_p99(), None);
    assert!(metered.append(Vec::new()).await.is_err());
    assert_eq!(metered.append_p99(), None, "failures don't count");
    metered.append(vec![0; 40]).await.unwrap();
    let p99 = metered.append_p99().unwrap();
    assert!(p99 >= Duration::from_millis(40) && p99 < Duration::from_secs(10), "{p99:?}");
    assert!(metered.submit(vec![vec![0]; 3]).wait().is_ok());
    assert!(metered.submit(vec![vec![]; 3]).wait().is_err());
    let entry = metered.find(&Which::Index(0)).unwrap();
    assert!(metered.body(&entry).is_ok());
    assert!(metered.find(&Which::Id(AssertionId([0; 32]))).is_err());
    let mut text = String::new();
    metered.meter.metrics.events_into(&mut text);
    for line in [
        "stemedb_appends_total{origin=\"client\",outcome=\"done\"} 1\n",
        "stemedb_appends_total{origin=\"client\",outcome=\"held\"} 3\n",
        "stemedb_appends_total{origin=\"client\",outcome=\"failed\"} 4\n",
        "stemedb_append_seconds_count{origin=\"client\"} 4\n",
        "stemedb_gets_total{outcome=\"done\"} 1\n",
        "stemedb_gets_total{outcome=\"missing\"} 1\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
}
