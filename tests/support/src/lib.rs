//! What the tests of chaoschain stand on: nats servers and clusters, Python, proxies and small disks.
