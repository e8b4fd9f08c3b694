"""The pipeline under faults: generated traffic, faults between the services, an oracle that knows nothing of the code.

Nothing here is seen by the product. `traffic` uploads, overwrites and removes; `relay` stands between S3 and the queue;
`proxy` stands between the functions' processes and the cloud, and kills them; `oracle` looks at what came of it.
"""
