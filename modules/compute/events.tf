# One event per outcome of an image, on a bus of its own (docs/events.md).
#
# The table's stream keeps events and records in step: it holds exactly the writes that took effect, in their order, for
# a day. Lambda gives each write to the announcer until it succeeds. An event that the processor sends itself would be
# lost if the process dies after its write, or would announce a write that never came if it is sent before. An outbox
# item would cost a transaction per image. The bus may get an event twice, with the same id.

resource "aws_cloudwatch_event_bus" "images" {
  name = local.event_bus_name
}

resource "aws_lambda_event_source_mapping" "records" {
  event_source_arn               = var.storage.table.stream_arn
  function_name                  = aws_lambda_alias.live["announcer"].arn
  batch_size                     = 100
  bisect_batch_on_function_error = true
  starting_position              = "TRIM_HORIZON"

  # No limit of tries or of age, and no destination for failures, on purpose. What fails is the bus or the announcer,
  # hardly ever a single record. Giving up would lose all of them one after another; trying on loses none for as long as
  # the stream remembers, 24 hours. A queue as destination would get only their places in that same stream, and break
  # their order. The price: a record that cannot be announced stops those behind it. The alarm announcer-age of the
  # module monitoring then calls somebody, with most of the day left.

  # Outcomes only: images that are being worked on and the other items of the table start no announcer.
  filter_criteria {
    filter {
      pattern = jsonencode({
        dynamodb  = { NewImage = { status = { S = ["DELETED", "FAILED", "READY", "REJECTED"] } } }
        eventName = ["INSERT", "MODIFY"]
      })
    }
  }
}
