# What became of each image, for whoever wants to know: one event per transition on a bus of its own (docs/events.md).
#
# The table's stream is what keeps events and records in step. An event sent by the processor itself would be lost when the
# process dies after its write, or told of a write that never came when it is sent before; an outbox item would cost a
# transaction per image and still need somebody to empty it. The stream holds exactly the writes that took effect, in their
# order, for a day, at no write of ours; Lambda gives each to the announcer until it succeeds. What the bus may then hold
# twice carries the same id.

resource "aws_cloudwatch_event_bus" "images" {
  name = local.event_bus_name
}

resource "aws_lambda_event_source_mapping" "records" {
  event_source_arn               = var.storage.table.stream_arn
  function_name                  = aws_lambda_alias.live["announcer"].arn
  batch_size                     = 100
  bisect_batch_on_function_error = true
  starting_position              = "TRIM_HORIZON"

  # No limit of tries or of age, and no destination for failures, on purpose. What fails is the bus or the announcer, hardly
  # ever a single record: to give up would lose all of them one after another, while trying on loses nothing for as long as
  # the stream remembers, 24 hours. A queue as destination would get no records either, only their place in that same
  # stream, and break their order. The price is that a record that cannot be told stops those behind it: the alarm announcer-age of the
  # module monitoring calls somebody, with most of the day left.

  # Only outcomes: an image that is being worked on, and what the table keeps beside records, wakes nobody.
  filter_criteria {
    filter {
      pattern = jsonencode({
        dynamodb  = { NewImage = { status = { S = ["DELETED", "FAILED", "READY", "REJECTED"] } } }
        eventName = ["INSERT", "MODIFY"]
      })
    }
  }
}
