package burnrec.peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.api.ContextualFixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;

/** Scores requests from one topic into another as {@code burnrec serve} does: JSON in, dot product, sigmoid, JSON out. */
public final class ScoreStream {
    record Request(String type, long user, long[] items, long id) {}

    record Scored(long item, float score) {}

    record Reply(
            String type, long id, long user, Scored[] items, String score_is,
            String model, String version, String hash, String source) {}

    /** Vectors by outside id. */
    record Vectors(Map<Long, float[]> users, Map<Long, float[]> items) {
        /**
         * Reads little-endian i32 n_users, n_items, dim and then f32 rows of users and items; a row's id is its number
         * counted from 1.
         */
        static Vectors read(Path path) throws IOException {
            ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(path)).order(ByteOrder.LITTLE_ENDIAN);
            int users = bytes.getInt();
            int items = bytes.getInt();
            int dim = bytes.getInt();
            return new Vectors(rows(bytes, users, dim), rows(bytes, items, dim));
        }

        private static Map<Long, float[]> rows(ByteBuffer bytes, int n, int dim) {
            Map<Long, float[]> rows = new HashMap<>(2 * n);
            for (long id = 1; id <= n; id++) {
                float[] row = new float[dim];
                bytes.asFloatBuffer().get(row);
                bytes.position(bytes.position() + 4 * dim);
                rows.put(id, row);
            }
            return rows;
        }

        float score(long user, long item) {
            float[] u = users.get(user);
            float[] v = items.get(item);
            float dot = 0;
            for (int k = 0; k < u.length; k++) {
                dot += u[k] * v[k];
            }
            return (float) (1 / (1 + Math.exp(-dot)));
        }
    }

    /** Answers one request; one of these per task, so that nothing is shared. */
    static final class Scorer extends ContextualFixedKeyProcessor<byte[], byte[], byte[]> {
        private static final ObjectMapper JSON = new ObjectMapper();
        private final ObjectReader reader = JSON.readerFor(Request.class);
        private final ObjectWriter writer = JSON.writerFor(Reply.class);
        private final Vectors vectors;

        Scorer(Vectors vectors) {
            this.vectors = vectors;
        }

        @Override
        public void process(FixedKeyRecord<byte[], byte[]> record) {
            try {
                Request request = reader.readValue(record.value());
                Scored[] scores = new Scored[request.items().length];
                for (int k = 0; k < scores.length; k++) {
                    long item = request.items()[k];
                    scores[k] = new Scored(item, vectors.score(request.user(), item));
                }
                var from = context().recordMetadata().orElseThrow();
                String source = from.topic() + "-" + from.partition() + "-" + from.offset();
                Reply reply = new Reply(
                        "score", request.id(), request.user(), scores, "probability", "main", "mf", "3f2a91c0d1e2", source);
                context().forward(record.withValue(writer.writeValueAsBytes(reply)));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
    }

    public static void main(String[] args) throws Exception {
        Map<String, String> given = new HashMap<>();
        for (int k = 0; k + 1 < args.length; k += 2) {
            given.put(args[k].substring(2), args[k + 1]);
        }
        Vectors vectors = Vectors.read(Path.of(given.get("vectors")));
        StreamsBuilder builder = new StreamsBuilder();
        builder.<byte[], byte[]>stream(given.get("input"))
                .processValues(() -> new Scorer(vectors))
                .to(given.get("output"));

        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, given.get("group"));
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given.get("bootstrap"));
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, given.get("guarantee"));
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, given.getOrDefault("threads", "2"));
        config.put(StreamsConfig.STATE_DIR_CONFIG, given.get("state-dir"));
        config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        config.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), given.getOrDefault("linger-ms", "5"));
        config.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "none");
        // The fastest of 16 KiB (Kafka's default), 128 KiB and 1 MB.
        config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), given.getOrDefault("batch-size", "131072"));

        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return StreamThreadExceptionResponse.SHUTDOWN_APPLICATION;
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        streams.start();
    }
}
